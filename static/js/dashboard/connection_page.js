/**
 * My connection: which way the feed comes, why that way, what one can do about it, and what became of its gaps.
 */

import { fullTime } from "./format.js";
import { setText } from "./hooks.js";
import { LinkParts } from "./link_parts.js";

const TRANSPORTS = { websocket: "WebSocket", sse: "Server-sent events" };

export class ConnectionPage {
  #feed;
  #linkParts;
  #card = document.querySelector("[data-connection]");
  #retry = document.querySelector("[data-retry]");
  #switch = document.querySelector("[data-switch-transport]");

  /**
   * @param {string[]} transports those that are configured
   * @param {AbortSignal} signal ends it
   */
  constructor(feed, transports, signal) {
    this.#feed = feed;
    this.#linkParts = LinkParts.ofPage(feed.store, signal);
    this.#retry?.addEventListener("click", () => feed.connection.retry());
    this.#switch?.addEventListener("click", () => feed.connection.useAnother());
    if (this.#switch) this.#switch.hidden = transports.length < 2;
    // The cursor moves with every change: a look now and then will do.
    const looking = setInterval(() => this.changed(), 1000);
    signal.addEventListener("abort", () => clearInterval(looking));
  }

  changed() {
    const { connection, resyncs } = this.#feed.status;
    this.#say("state", stateWords(connection));
    this.#say("transport", TRANSPORTS[connection.transport] ?? "None");
    this.#say("why", why(connection));
    this.#say("reconnects", `${connection.reconnects} reconnects, ${resyncWords(resyncs)}`);
    this.#say("error", lastError(connection));
    this.#say("cursor", String(this.#feed.store.cursor));
    if (this.#retry) this.#retry.hidden = connection.state !== "waiting" && connection.state !== "failed";
    if (this.#switch) this.#switch.disabled = connection.state !== "connected";
    this.#linkParts.follow();
  }

  #say(what, text) {
    setText(this.#card?.querySelector(`[data-connection-${what}]`), text);
  }
}

function stateWords({ state, nextTry, offline }) {
  const seconds = nextTry === null ? 0 : Math.max(0, Math.ceil((nextTry - Date.now()) / 1000));
  const more = state === "waiting" ? `, next try in ${seconds} s` : "";
  return `${state[0].toUpperCase()}${state.slice(1)}${more}${offline ? ", the browser says it is offline" : ""}`;
}

function why({ transport, fallback, failures }) {
  if (!fallback) return "It is the first of those configured";
  const others = failures.filter(({ name }) => name !== transport);
  if (!others.length) return "It was chosen, or worked the last time";
  return others.map(({ name, cause }) => `${TRANSPORTS[name]}: ${cause}`).join("; ");
}

function resyncWords(resyncs) {
  const causes = Object.entries(resyncs).map(([cause, count]) => `${count} by ${cause}`);
  return causes.length ? `resyncs: ${causes.join(", ")}` : "no resyncs";
}

function lastError({ cause, next, failures }) {
  if (cause) return [cause, next].filter(Boolean).join(". ");
  const last = failures.toSorted((a, b) => b.at - a.at)[0];
  return last ? `${TRANSPORTS[last.name]}: ${last.cause} (${fullTime(last.at)})` : "None";
}
