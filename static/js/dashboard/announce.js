/**
 * The polite live region: for who cannot see the page, a summary now and then, and not each change.
 */

import { atMostEvery } from "./frame.js";
import { setText } from "./hooks.js";

const EVERY_MS = 10_000;

export function beginAnnouncements(store) {
  const region = document.querySelector("[data-live-region]");
  const changed = new Map();
  const announce = atMostEvery(EVERY_MS, () => {
    setText(region, summary(changed.values()));
    changed.clear();
  });
  store.subscribe("*", ({ key, fields, event }) => {
    if (!event || !fields.includes("online")) return;
    changed.set(key, event.fields.online[0]);
    announce();
  });
}

/**
 * @param {Iterable<boolean>} states the last presence of each device that changed
 * @returns {string} such as "2 devices came online, 1 device went offline."
 */
export function summary(states) {
  const all = [...states];
  const online = all.filter(Boolean).length;
  const parts = [[online, "came online"], [all.length - online, "went offline"]];
  const known = parts.filter(([count]) => count);
  const said = known.map(([count, did]) => `${count} device${count === 1 ? "" : "s"} ${did}`);
  return said.length ? `${said.join(", ")}.` : "";
}
