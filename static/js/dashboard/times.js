/**
 * All times of the page in the viewer's zone. The zone stands in the heading of a column, else beside the time.
 */

import * as format from "./format.js";
import { showText, showTime } from "./hooks.js";

const MINUTE_MS = 60_000;

let day = "";

export function beginTimes() {
  showTimes();
  // At midnight the time alone would become a lie.
  setInterval(() => {
    if (new Date().toDateString() !== day) showAll();
  }, MINUTE_MS);
}

/** Brings what the server has just rendered into the viewer's zone. */
export function showTimes() {
  for (const heading of document.querySelectorAll("[data-rows] th.time")) nameZone(heading);
  showAll();
}

function nameZone(heading) {
  heading.append(`, ${format.zone(new Date())}`);
}

function showAll() {
  showTimesIn(document);
  day = new Date().toDateString();
}

/** @param {ParentNode} root has columns of no list */
export function showTimesIn(root) {
  const now = new Date();
  for (const node of root.querySelectorAll("time[data-value]")) showTime(node, now);
  for (const node of root.querySelectorAll('[data-format="time"]')) showText(node);
}
