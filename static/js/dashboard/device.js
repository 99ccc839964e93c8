/**
 * One device's page: its timeline goes on, and a device that left one's view is not shown on as if it were here.
 */

import * as format from "./format.js";
import { element, timeElement } from "./hooks.js";

/** A page that stays open for days must not grow for days. */
const LINES = 200;

export class Device {
  #timeline = document.querySelector("[data-timeline]");
  #root = document.querySelector("[data-device]");

  constructor(feed, signal) {
    feed.store.subscribe(this.#root.dataset.entity, (change) => this.#changed(change), signal);
  }

  #changed({ fields, gone, event }) {
    if (gone) this.#leave();
    else if (event) this.#add(fields.map((name) => line(name, event)));
  }

  #add(lines) {
    this.#timeline.prepend(...lines);
    while (this.#timeline.children.length > LINES) this.#timeline.lastElementChild.remove();
  }

  #leave() {
    const note = element("p", { className: "note", textContent: "This device is no longer yours to see. " });
    note.append(element("a", { href: "/devices/", textContent: "Go to your devices" }));
    this.#root.replaceChildren(note);
  }
}

function line(name, { fields, source }) {
  const [value, time] = fields[name];
  const shown = element("span", { className: "line-value", textContent: format.shownAs(value, name) });
  const over = element("small", { className: "muted", textContent: `over ${source}` });
  const made = element(
    "li",
    { className: "line" },
    element("span", { className: "line-time" }, timeElement(time)),
    element("div", {}, element("b", { textContent: format.label(name) }), " ", shown, " ", over),
  );
  made.dataset.kind = "change";
  return made;
}
