/**
 * Why the server ended a session, and whether to come back: the one table of close codes on this side.
 *
 * 4000–4099 come back with backoff; 4400–4499 do not come back until something changes, but for 4429, which
 * comes back after the time that the server named. All other codes (1001, 1006, ...) are the network's.
 *
 * @typedef {object} Closing
 * @property {boolean} back whether to try again by itself
 * @property {string} cause for people
 * @property {string} [next] what a person can do about it
 * @property {boolean} [accessEnded] whether what is shown is no longer this person's to see
 */

/** @type {Readonly<Record<number, Closing>>} */
const CLOSINGS = Object.freeze({
  4001: { back: true, cause: "This page read too slowly" },
  4008: { back: true, cause: "The server heard nothing from this page" },
  4011: { back: true, cause: "The server could not go on with this session" },
  4012: { back: true, cause: "The server is restarting" },
  4013: { back: true, cause: "The server's database does not answer" },
  4400: { back: false, cause: "The server did not understand this page", next: "Reload the page." },
  4401: { back: false, cause: "Signed out", next: "Sign in again.", accessEnded: true },
  4403: {
    back: false,
    cause: "Access ended",
    next: "Sign in with an account that has access.",
    accessEnded: true,
  },
  4426: { back: false, cause: "This page is older than the server", next: "Reload the page." },
  4429: { back: true, cause: "Too many connections", next: "Close some of your other tabs." },
});

/**
 * @param {number} code a WebSocket close code, or what a transport translated into one
 * @param {string} reason the transport's words, used when the code says nothing by itself
 * @returns {Closing}
 */
export function closing(code, reason) {
  if (CLOSINGS[code]) return CLOSINGS[code];
  if (code >= 4400 && code < 4500) {
    return { back: false, cause: reason, next: "Reload the page." };
  }
  return { back: true, cause: reason };
}
