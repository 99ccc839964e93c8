/**
 * The live feed over server-sent events: one way, through anything that lets HTTP pass.
 */

import { eventStream } from "./event_stream.js";
import { withCursor } from "./websocket.js";

/** The network's own close code for "ended without a word". */
const ABNORMAL = 1006;

/** Our refusals by HTTP status; another status is said by something between the server and us. */
const REFUSALS = { 400: 4400, 401: 4401, 403: 4403, 429: 4429 };

/**
 * @param {object} options
 * @param {string} options.url
 * @param {typeof globalThis.fetch} [options.fetch]
 * @returns {import("./websocket.js").Transport}
 */
export function sse({ url, fetch = (...request) => globalThis.fetch(...request) }) {
  return {
    name: "sse",
    pings: false,
    open: (cursor, callbacks) => new EventStreamLine(fetch, withCursor(url, cursor), callbacks),
  };
}

/** @implements {import("./websocket.js").Line} */
class EventStreamLine {
  #aborter = new AbortController();
  #callbacks;

  constructor(fetch, url, callbacks) {
    this.#callbacks = callbacks;
    this.#read(fetch, url).then(
      (ending) => this.#end(ending),
      (error) => this.#end({ code: ABNORMAL, reason: error.message }),
    );
  }

  /** One way only: what a page would say here can wait for a better line. */
  send() {
    return false;
  }

  close() {
    this.#callbacks = null;
    this.#aborter.abort();
  }

  /** @returns {Promise<import("./websocket.js").Ending>} */
  async #read(fetch, url) {
    const response = await fetch(url, {
      headers: { Accept: "text/event-stream" },
      cache: "no-store",
      credentials: "same-origin",
      signal: this.#aborter.signal,
    });
    if (!isStream(response)) return refusal(response);
    this.#callbacks?.opened();
    await this.#pump(response.body.pipeThrough(new TextDecoderStream()).getReader());
    return { code: ABNORMAL, reason: "The stream ended" };
  }

  async #pump(reader) {
    const take = eventStream((data) => this.#callbacks?.message(data));
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      this.#callbacks?.alive();
      take(value);
    }
  }

  #end(ending) {
    const callbacks = this.#callbacks;
    this.#callbacks = null;
    callbacks?.ended(ending);
  }
}

function isStream(response) {
  return response.ok && (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}

/** Only a refusal in JSON is the server's own: a proxy's page must not end the feed for good. */
async function refusal(response) {
  const ours = (response.headers.get("Content-Type") ?? "").startsWith("application/json");
  const body = ours ? await response.json() : {};
  const retryAfter = Number(response.headers.get("Retry-After"));
  return {
    code: (ours && REFUSALS[response.status]) || ABNORMAL,
    reason: body.cause ?? `The server answered ${response.status}`,
    ...(retryAfter > 0 && { retryAfter: retryAfter * 1000 }),
  };
}
