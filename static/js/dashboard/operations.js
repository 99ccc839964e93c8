/**
 * The operators' pages keep themselves up to date: the server renders the page again every few seconds, and what
 * differs takes its place. Plain on purpose: these pages must work when everything that they show is broken.
 */

import { showTime } from "./hooks.js";
import { beginTheme } from "./theme.js";

const EVERY_MS = 2_000;

/** Parts that are replaced as a whole have a name; rows of a list are known by where their links lead. */
const REGIONS = "[data-refresh]";
const ROWS = "#result_list tbody tr";

async function refresh() {
  const response = await fetch(location.href, { cache: "no-store", redirect: "error" });
  if (!response.ok) throw new Error(`The server answered ${response.status}`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  replace(parts(document), parts(fresh));
}

/** @returns {Map<string, Element>} what may be replaced: named regions, and the cells of rows but for the choice */
function parts(page) {
  const found = new Map();
  for (const region of page.querySelectorAll(REGIONS)) found.set(region.dataset.refresh, region);
  for (const row of page.querySelectorAll(ROWS)) {
    const cells = row.querySelectorAll("td:not(.action-checkbox)");
    cells.forEach((cell, at) => found.set(`${row.querySelector("a")?.pathname} ${at}`, cell));
  }
  return found;
}

/** The server's text is kept for comparison, because the times on the page are rewritten for the viewer's zone. */
const rendered = new WeakMap();

function replace(old, fresh) {
  for (const [name, part] of old) {
    const html = fresh.get(name)?.innerHTML;
    if (html === undefined || html === rendered.get(part) || part.contains(document.activeElement)) continue;
    part.replaceChildren(...fresh.get(name).childNodes);
    rendered.set(part, html);
    showTimes(part);
  }
}

function showTimes(root) {
  const now = new Date();
  for (const node of root.querySelectorAll("time[data-value]")) showTime(node, now);
}

function say(text) {
  const note = document.querySelector("[data-refreshed]");
  if (note && note.textContent !== text) note.textContent = text;
}

async function keepFresh() {
  if (!document.hidden) {
    try {
      await refresh();
      say("Kept up to date");
    } catch (error) {
      say(`Not up to date: ${error.message}`);
    }
  }
  setTimeout(keepFresh, EVERY_MS);
}

beginTheme();
for (const part of parts(document).values()) rendered.set(part, part.innerHTML);
showTimes(document);
if (document.querySelector("[data-refreshed]")) setTimeout(keepFresh, EVERY_MS);
