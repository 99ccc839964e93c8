/**
 * The last resort of a page whose frame does not fit what happened (its first device, a new site): the server
 * renders it anew. Rarely, and never while somebody types.
 */

/** The changes that make it necessary come in a burst. */
const QUIET_MS = 700;

/** Should a reload not have helped, another one at once would not either. */
const AGAIN_MS = 10_000;

const KEY = "fleetlight.reloaded";

let timer = null;

export function reloadSoon(ms = QUIET_MS) {
  clearTimeout(timer);
  timer = setTimeout(reload, ms);
}

/**
 * For pages whose frame is made of these entities, and has no template for a new one.
 *
 * @param {import("../live/store.js").Store} store
 * @param {string[]} kinds
 */
export function reloadAsTheyComeAndGo(store, kinds) {
  store.subscribe("*", ({ key, created, gone }) => {
    if ((created || gone) && kinds.includes(key.split("/")[0])) reloadSoon();
  });
}

function reload() {
  const wait = Number(sessionStorage.getItem(KEY) ?? 0) + AGAIN_MS - Date.now();
  if (wait > 0) return reloadSoon(wait);
  if (document.activeElement?.matches("input, textarea, select")) return reloadSoon();
  sessionStorage.setItem(KEY, String(Date.now()));
  location.reload();
}
