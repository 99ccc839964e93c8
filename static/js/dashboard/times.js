/**
 * All times of the page in the viewer's zone. The zone stands in the heading of a column, else beside the time.
 */

import * as format from "./format.js";
import { showText, showTime } from "./hooks.js";

const MINUTE_MS = 60_000;

export function beginTimes() {
  for (const heading of document.querySelectorAll("[data-rows] th.time")) nameZone(heading);
  let day = showAll();
  // At midnight the time alone would become a lie.
  setInterval(() => {
    if (new Date().toDateString() !== day) day = showAll();
  }, MINUTE_MS);
}

function nameZone(heading) {
  heading.append(`, ${format.zone(new Date())}`);
}

function showAll() {
  const now = new Date();
  for (const node of document.querySelectorAll("time[data-value]")) showTime(node, now);
  for (const node of document.querySelectorAll('[data-format="time"]')) showText(node);
  return now.toDateString();
}
