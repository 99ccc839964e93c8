/**
 * A page's frame is the server's. When it no longer fits what happened (another organisation, a new site, the first
 * device), the server renders the page anew, and its content takes the place of the old one. Connection and state go
 * on, so do address and focus: nothing is loaded again.
 */

/** The changes that make it necessary come in a burst. */
const QUIET_MS = 700;

/** Should it not have helped, to do it again at once would not either. */
const AGAIN_MS = 10_000;

/** While the server does not answer: the pill says so, and this waits. */
const FAILED_MS = 3_000;

let timer = null;
let wished = false;
let renderedAt = -AGAIN_MS;
let replaced = () => {};
let asked = null;

/** @param {() => void} told after the content was replaced */
export function onRender(told) {
  replaced = told;
}

/** Soon, and rarely; what is due now is not put off. */
export function renderSoon() {
  if (!wished) later(Math.max(QUIET_MS, renderedAt + AGAIN_MS - performance.now()));
}

/** Because the person wished it, here or in another tab. */
export function renderNow() {
  wished = true;
  later(0);
}

/**
 * For pages whose frame is made of these entities, and has no template for a new one.
 *
 * @param {import("../live/store.js").Store} store
 * @param {string[]} kinds
 * @param {AbortSignal} signal ends it
 */
export function renderAsTheyComeAndGo(store, kinds, signal) {
  const tell = ({ key, created, gone }) => {
    if ((created || gone) && kinds.includes(key.split("/")[0])) renderSoon();
  };
  store.subscribe("*", tell, signal);
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(render, ms);
}

/** Of two that are under way the later one counts: the first may have been rendered before what it is to show. */
async function render() {
  wished = false;
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const page = await fetchPage(signal).catch(() => null);
  if (signal.aborted) return;
  if (page === null) return later(FAILED_MS);
  renderedAt = performance.now();
  keepFocus(() => take(page));
  replaced();
}

/** A device's short address means another device once another organisation is looked at: the whole one does not. */
function address() {
  return document.querySelector("link[rel=canonical]")?.href ?? location.href;
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Document>} this page as the server renders it now; rejects while the server does not answer
 */
export async function fetchPage(signal) {
  const response = await fetch(address(), { signal, cache: "no-store", credentials: "same-origin" });
  if (response.status >= 500) throw new Error(`The server answered ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (page.body.dataset.live === "on") return page;
  // The sign-in form, or word that it is gone: what is no live page takes the place of this one as a whole.
  location.reload();
  throw new Error("This is no live page any more");
}

/** @param {Document} page its nodes are moved here */
function take(page) {
  history.replaceState(null, "", address());
  document.title = page.title;
  document.body.dataset.page = page.body.dataset.page;
  for (const part of ["main", "[data-switcher]"]) {
    const [old, anew] = [document.querySelector(part), page.querySelector(part)];
    old.className = anew.className;
    old.replaceChildren(...anew.childNodes);
  }
  for (const template of document.querySelectorAll("body > template")) template.remove();
  document.body.append(...page.querySelectorAll("body > template"));
}

/** Gives the focus, and what is being typed, to the same field or row of the new content. */
function keepFocus(replace) {
  const { id, value, dataset } = document.activeElement;
  const key = document.activeElement.closest("[data-entity]")?.dataset.entity;
  const find = id ? `#${CSS.escape(id)}` : key && "link" in dataset && `[data-entity="${CSS.escape(key)}"] [data-link]`;
  replace();
  const again = find && document.querySelector(find);
  if (!again) return;
  again.focus({ preventScroll: true });
  if (again.matches("input")) again.value = value;
}
