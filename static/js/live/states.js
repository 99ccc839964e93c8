/**
 * The states of a connection as a person would name them, and how one becomes another.
 *
 *   closed ─open─▶ connecting ─hello─▶ connected ─lost─▶ waiting ─due─▶ reconnecting ─hello─▶ connected
 *                      │                   │                ▲                │
 *                      └──────── lost ─────┼────────────────┴───── lost ─────┘
 *                                          └─ refused ─▶ failed ─due─▶ reconnecting
 *
 * `changeover` is the move to the next transport within one try: it costs no wait. `close` is ours, from
 * anywhere, and final until `open`. A pair that is absent here is a mistake, and throws.
 */
export const TRANSITIONS = Object.freeze({
  closed: Object.freeze({ open: "connecting" }),
  connecting: Object.freeze({
    hello: "connected",
    changeover: "connecting",
    lost: "waiting",
    refused: "failed",
    close: "closed",
  }),
  connected: Object.freeze({
    hello: "connected",
    changeover: "reconnecting",
    lost: "waiting",
    refused: "failed",
    close: "closed",
  }),
  waiting: Object.freeze({ due: "reconnecting", close: "closed" }),
  reconnecting: Object.freeze({
    hello: "connected",
    changeover: "reconnecting",
    lost: "waiting",
    refused: "failed",
    close: "closed",
  }),
  failed: Object.freeze({ due: "reconnecting", close: "closed" }),
});

/**
 * @param {string} state
 * @param {string} event
 * @returns {string} the state after the event
 * @throws {Error} when the event has no place in that state
 */
export function next(state, event) {
  const after = TRANSITIONS[state]?.[event];
  if (after === undefined) throw new Error(`no transition from ${state} by ${event}`);
  return after;
}
