/**
 * Is what is shown still so, and if not sure: why. The same words as on the server's pages.
 *
 * A value is current while its path has been provably live since it was last confirmed; quiet is never stale.
 * The hop nearest to the reader is named first: while it is broken, nothing is known of those behind it.
 */

/** @typedef {"current" | "browser-offline" | "nobody-watching" | "worker-silent" | "upstream-down" |
 *   "partly-live" | "catching-up"} Freshness */

/** What each word is called on the page. */
export const LABELS = Object.freeze({
  current: "Current",
  "browser-offline": "Browser offline",
  "nobody-watching": "Nobody was watching",
  "worker-silent": "Worker silent",
  "upstream-down": "Upstream down",
  "partly-live": "Partly live",
  "catching-up": "Catching up",
});

/** What each word means, for who asks. */
export const EXPLANATIONS = Object.freeze({
  current: "Everything on its way here has been provably live since this was last confirmed.",
  "browser-offline": "This browser is cut off; values are as old as its last contact.",
  "nobody-watching": "Your link sleeps while no browser is open; it resumes with this page.",
  "worker-silent": "The process that listens upstream has gone quiet; changes may be waiting there.",
  "upstream-down": "Your upstream link is not open; changes since then are fetched once it is back.",
  "partly-live": "Some upstream feeds are not heard; what they would tell is found by comparing now and then.",
  "catching-up": "The upstream link is open again and what was missed is being fetched.",
});

/**
 * @param {import("./feed.js").FeedStatus} status
 * @returns {Freshness}
 */
export function freshness({ connection, resyncing, upstream, link }) {
  if (connection.state !== "connected") return "browser-offline";
  if (link.state === "suspended") return "nobody-watching";
  if (upstream?.worker === "silent") return "worker-silent";
  if (link.state !== undefined && link.state !== "open") return "upstream-down";
  if (!resyncing && link.reason && link.gap) return "partly-live"; // of an open link: some feeds are not heard
  if (resyncing || link.gap) return "catching-up";
  return "current";
}
