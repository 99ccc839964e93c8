/**
 * The last resort of a page whose frame does not fit what happened (its first device, a new site): the server
 * renders it anew. Rarely, and never while somebody types.
 */

/** The changes that make it necessary come in a burst. */
const QUIET_MS = 700;

/** Should a reload not have helped, another one soon would not either. */
const AGAIN_MS = 30_000;

const KEY = "fleetlight.reloaded";

let timer = null;

export function reloadSoon() {
  clearTimeout(timer);
  timer = setTimeout(reload, QUIET_MS);
}

function reload() {
  if (document.activeElement?.matches("input, textarea, select")) return reloadSoon();
  if (Date.now() - Number(sessionStorage.getItem(KEY) ?? 0) < AGAIN_MS) return;
  sessionStorage.setItem(KEY, String(Date.now()));
  location.reload();
}
