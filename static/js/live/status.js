/**
 * The status in words: what the pill says. It never says "Live" while any hop is known to be broken.
 */

import { freshness } from "./freshness.js";

/**
 * @typedef {object} Words
 * @property {"live" | "busy" | "warn" | "down"} tone
 * @property {string} text what the pill says
 * @property {string} detail the longer story, for who asks
 * @property {boolean} canRetry whether "try again" makes sense
 */

/** Shorter losses are hardly seen: the pill counts down, and names no beginning yet. */
const LONG_LOSS_MS = 15_000;

/**
 * @param {import("./feed.js").FeedStatus} status
 * @param {object} clock
 * @param {number} clock.now milliseconds, of this machine
 * @param {(ms: number) => string} clock.time a moment as the viewer reads it, such as "14:02"
 * @returns {Words}
 */
export function words(status, clock) {
  const fresh = freshness(status);
  const isCutOff = fresh === "browser-offline";
  const said = isCutOff ? connectionWords(status.connection, clock) : pathWords[fresh](status, clock);
  return { detail: "", canRetry: false, ...said };
}

/** @returns {Partial<Words>} */
function connectionWords(connection, { now, time }) {
  const { state, since, nextTry, cause, next, offline } = connection;
  const canRetry = state === "waiting" || state === "failed";
  const detail = sentences(cause && `${cause}.`, next);
  if (state === "failed") return { tone: "down", text: cause, detail: next, canRetry };
  if (state === "closed") return { tone: "down", text: "Not live", detail };
  if (state === "connecting") return { tone: "busy", text: "Connecting", detail };
  if (offline || now - since >= LONG_LOSS_MS) {
    const text = `Offline since ${time(since)}`;
    return { tone: "down", text, detail: sentences(detail, `${tryWords(nextTry, now)}.`), canRetry };
  }
  return { tone: "warn", text: tryWords(nextTry, now), detail, canRetry };
}

function tryWords(nextTry, now) {
  const seconds = Math.ceil(((nextTry ?? now) - now) / 1000);
  return seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting";
}

/** @type {Record<string, (status: import("./feed.js").FeedStatus, clock: object) => Partial<Words>>} */
const pathWords = {
  current: ({ connection, path }) => ({
    tone: "live",
    text: connection.fallback ? `Live over ${TRANSPORT_NAMES[connection.transport]}` : "Live",
    detail: sentences(
      ...connection.failures.filter(({ name }) => name !== connection.transport).map(failureWords),
      path?.layer === "down" && "The message layer is down: changes come a little later, none are lost.",
    ),
  }),
  "nobody-watching": () => ({ tone: "busy", text: "Nobody was watching; resuming" }),
  "worker-silent": ({ upstream }, { time }) => ({
    tone: "warn",
    text: `Worker silent since ${time(upstream.since / 1000)}`,
    detail: "Changes wait upstream of it; they come when it is back.",
  }),
  "upstream-down": ({ link }, { time }) => ({
    tone: "warn",
    text: link.reason ? `Upstream down: ${link.reason.split(":")[0]}` : "Upstream down",
    detail: sentences(
      link.reason && `${link.reason}.`,
      link.since && `Since ${time(link.since / 1000)}.`,
      "What changes meanwhile is fetched afterwards.",
    ),
  }),
  "partly-live": ({ link }, { time }) => ({
    tone: "warn",
    text: "Partly live",
    detail: sentences(
      `${link.reason}.`,
      `Since ${time(link.gap.since / 1000)} what these would tell is only found by comparing now and then.`,
    ),
  }),
  "catching-up": ({ link, snapshotError }, { time }) => ({
    tone: "busy",
    text: "Catching up",
    detail: sentences(
      link.gap && `What was missed since ${time(link.gap.since / 1000)} is being fetched.`,
      snapshotError && `The state could not be fetched: ${snapshotError}. It is tried again.`,
    ),
  }),
};

function sentences(...parts) {
  return parts.filter(Boolean).join(" ");
}

const TRANSPORT_NAMES = { websocket: "WebSocket", sse: "SSE" };

function failureWords({ name, cause }) {
  return `${TRANSPORT_NAMES[name]} did not work: ${cause}.`;
}
