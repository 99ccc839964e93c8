/**
 * The way of the last change to this page, hop by hop, to scale.
 */

import { atMostEvery } from "./frame.js";
import { duration, hops, total } from "./hops.js";
import { setText } from "./hooks.js";

/** Numbers that flicker tell nobody anything. */
const SHOW_MS = 500;

export class Waterfall {
  #feed;
  #rows;
  #hops = [];
  #what = "";
  #root;
  #draw = atMostEvery(SHOW_MS, () => this.#render());

  static begin(feed, signal) {
    const root = document.querySelector("[data-waterfall]");
    return root && new Waterfall(feed, root, signal);
  }

  constructor(feed, root, signal) {
    this.#feed = feed;
    this.#root = root;
    this.#rows = [...root.querySelectorAll("[data-hop]")];
    feed.store.subscribe("*", (change) => this.#changed(change), signal);
  }

  #changed({ key, event }) {
    if (!event?.at || event.source === "snapshot") return;
    this.#hops = hops(event.at, this.#feed.serverTime * 1000);
    this.#what = `${event.event} of ${key}`;
    this.#draw();
  }

  #render() {
    const whole = total(this.#hops);
    for (const row of this.#rows) drawRow(row, this.#hops.find(({ name }) => name === row.dataset.hop), whole);
    setText(this.#root.querySelector("[data-waterfall-total]"), duration(whole));
    setText(this.#root.querySelector("[data-waterfall-what]"), this.#what);
  }
}

function drawRow(row, hop, whole) {
  const bar = row.querySelector("rect");
  const share = (ms) => String(whole ? (ms / whole) * 100 : 0);
  bar.setAttribute("x", share(hop?.start ?? 0));
  bar.setAttribute("width", share(hop?.duration ?? 0));
  setText(row.querySelector("[data-hop-duration]"), duration(hop?.duration ?? null));
}
