/**
 * Short notes in the corner, for what a person should not miss: the urgent.
 */

import * as format from "./format.js";
import { itemOf } from "./fleet.js";
import { element } from "./hooks.js";
import { isOwn } from "./view.js";

const SHOWN_MS = 8_000;

/** More at once is a wall: the oldest goes. */
const MOST = 3;

/** @param {string} text */
export function toast(text) {
  const place = document.querySelector("[data-toasts]");
  const note = element("p", { className: "toast", textContent: text });
  note.setAttribute("role", "alert");
  place.append(note);
  while (place.children.length > MOST) place.firstElementChild.remove();
  setTimeout(() => note.remove(), SHOWN_MS);
}

/** Tells of urgent changes as they arrive; what a snapshot brings is old news. */
export function beginToasts(store) {
  store.subscribe("*", ({ key, fields, event }) => {
    if (!event?.urgent || event.source === "snapshot" || !fields.length || isOwn(key)) return;
    const [name] = fields;
    const entity = store.entity(key);
    const called = entity ? itemOf(key, entity).name : key;
    toast(`${called}: ${format.label(name)} is now ${format.shownAs(event.fields[name][0], name)}`);
  });
}
