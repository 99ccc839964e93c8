/**
 * The keyboard: `/` searches, `j` and `k` walk the rows, `Enter` opens, `g` and a letter goes to a page, `?`
 * shows all of it. Nothing is taken from who types, or from the browser's own keys.
 */

import { element } from "./hooks.js";

/** How long after `g` its letter may come. */
const CHORD_MS = 1_200;

const PAGES = { o: "/", d: "/devices/", a: "/archives/", r: "/organization/", c: "/connection/" };
const HELP = [
  ["/", "Search"],
  ["j", "Next row"],
  ["k", "Previous row"],
  ["Enter", "Open the row"],
  ["g o", "Overview"],
  ["g d", "Devices"],
  ["g a", "Archives"],
  ["g r", "Organisation"],
  ["g c", "My connection"],
  ["?", "This help"],
];

let goUntil = 0;

export function beginKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    if (act(event.key)) event.preventDefault();
  });
}

/** @returns {boolean} whether the key means something here */
function act(key) {
  const going = Date.now() < goUntil;
  goUntil = 0;
  if (going && key in PAGES) location.assign(PAGES[key]);
  else if (key === "g") goUntil = Date.now() + CHORD_MS;
  else if (key === "/") return search();
  else if (key === "j") return walk(1);
  else if (key === "k") return walk(-1);
  else if (key === "?") showHelp();
  else return false;
  return true;
}

function search() {
  const field = document.querySelector("[data-filter] [type=search]");
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** The focus goes to the row's link, so that Enter opens it without any help of ours. */
function walk(step) {
  const links = [...document.querySelectorAll("[data-rows] tr:not([hidden]) [data-link]")];
  const at = links.indexOf(document.activeElement);
  const next = links[at === -1 ? 0 : Math.min(links.length - 1, Math.max(0, at + step))];
  next?.focus();
  return Boolean(next);
}

function helpRow(keys, does) {
  const key = element("kbd", { textContent: keys });
  return element("div", {}, element("dt", {}, key), element("dd", { textContent: does }));
}

/** A modal dialog keeps the focus inside, and gives it back. */
function showHelp() {
  if (document.querySelector("dialog[open]")) return;
  const rows = HELP.map(([keys, does]) => helpRow(keys, does));
  const close = element("button", { type: "submit", textContent: "Close" });
  const title = element("h2", { id: "keys-title", textContent: "Keyboard" });
  const form = element("form", { method: "dialog" }, title, element("dl", { className: "pairs" }, ...rows), close);
  const dialog = element("dialog", { className: "card keys" }, form);
  dialog.setAttribute("aria-labelledby", "keys-title");
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
