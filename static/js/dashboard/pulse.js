/**
 * The overview's pulse: changes a minute for the last hour, and how long a change is on its way to this page.
 */

import { atMostEvery } from "./frame.js";
import { duration, hops, median, total } from "./hops.js";
import { setText } from "./hooks.js";
import { isOwn } from "./view.js";

const MINUTE_MS = 60_000;

/** Numbers that flicker tell nobody anything. */
const SHOW_MS = 500;

/** The latency that is shown is the median of as many changes. */
const SAMPLE = 50;

export class Pulse {
  #feed;
  #root;
  #bars;
  #counts;
  #minute;
  #latencies = [];
  #draw = atMostEvery(SHOW_MS, () => this.#render());

  static begin(feed, signal) {
    const root = document.querySelector("[data-pulse]");
    return root && new Pulse(feed, root, signal);
  }

  constructor(feed, root, signal) {
    this.#feed = feed;
    this.#root = root;
    this.#bars = [...root.querySelectorAll("rect")];
    this.#counts = this.#bars.map((bar) => Number(bar.dataset.count));
    this.#minute = this.#now();
    feed.store.subscribe("*", (change) => this.#changed(change), signal);
    const turning = setInterval(() => this.#draw(), MINUTE_MS / 4);
    signal.addEventListener("abort", () => clearInterval(turning));
  }

  #now() {
    return Math.floor(this.#feed.serverTime / MINUTE_MS);
  }

  #changed({ key, fields, event }) {
    if (!event || !fields.length || event.source === "snapshot" || isOwn(key)) return;
    this.#turn();
    this.#counts[this.#counts.length - 1] += fields.length;
    this.#latencies.push(total(hops(event.at, this.#feed.serverTime * 1000)));
    this.#latencies = this.#latencies.slice(-SAMPLE);
    this.#draw();
  }

  /** Minutes that are over move on to the left. */
  #turn() {
    const passed = Math.min(this.#now() - this.#minute, this.#counts.length);
    if (passed <= 0) return;
    this.#minute += passed;
    this.#counts = [...this.#counts.slice(passed), ...Array(passed).fill(0)];
  }

  #render() {
    this.#turn();
    const most = Math.max(1, ...this.#counts);
    this.#bars.forEach((bar, at) => drawBar(bar, this.#counts[at] / most));
    setText(this.#root.querySelector("[data-pulse-rate]"), String(this.#counts.at(-1)));
    setText(this.#root.querySelector("[data-pulse-latency]"), duration(median(this.#latencies)));
  }
}

/** @param {number} share of the picture's height */
function drawBar(bar, share) {
  const height = share ? Math.max(1, share * 40) : 0;
  if (bar.getAttribute("height") === String(height)) return;
  bar.setAttribute("height", String(height));
  bar.setAttribute("y", String(40 - height));
}
