/**
 * What the page says of itself: the pill, the page's standing, and the freshness of each row.
 */

import { EXPLANATIONS, freshness, LABELS } from "../live/freshness.js";
import { words } from "../live/status.js";
import { clockTime } from "./format.js";
import { setText } from "./hooks.js";

/** While something is counted down or has an age, the words change by themselves. */
const TICK_MS = 500;

/** A loss that is over before a person could read of it is not told. */
const DEBOUNCE_MS = 400;
const LOSING = new Set(["waiting", "reconnecting"]);

export class Pill {
  #feed;
  #pill = document.querySelector("[data-pill]");
  #word = null;
  #timer = null;
  #told;

  /** @param {(word: import("../live/freshness.js").Freshness) => void} told after the freshness changed */
  constructor(feed, told) {
    this.#feed = feed;
    this.#told = told;
    document.addEventListener("visibilitychange", () => this.show());
  }

  /** Says what is so now; a loss a little later, since it may be over at once. */
  changed() {
    const isLoss = this.#word !== null && LOSING.has(this.#feed.status.connection.state);
    if (isLoss && this.#word !== "browser-offline") this.#timer ??= setTimeout(() => this.show(), DEBOUNCE_MS);
    else this.show();
  }

  /** Says it on a content that the server has just rendered, which says what was so then. */
  showAnew() {
    this.#word = null;
    this.show();
  }

  show() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const { status } = this.#feed;
    this.#say(words(status, { now: Date.now(), time: clockTime }));
    // Until the first connection the server's own word stands: it rendered the page a moment ago.
    if (status.connection.state !== "connecting") this.#mark(freshness(status));
    if (status.connection.since !== null) this.#timer = setTimeout(() => this.show(), TICK_MS);
  }

  #say({ tone, text, detail }) {
    if (!this.#pill) return;
    this.#pill.dataset.tone = tone;
    this.#pill.title = detail || "How this page is kept live";
    setText(this.#pill.querySelector("[data-pill-text]"), text);
  }

  #mark(word) {
    if (word === this.#word) return;
    this.#word = word;
    document.body.dataset.fresh = word;
    const standing = document.querySelector("[data-standing]");
    if (standing) {
      standing.dataset.standing = word;
      setText(standing.querySelector("[data-standing-label]"), LABELS[word]);
      setText(standing.querySelector("[data-standing-text]"), EXPLANATIONS[word]);
    }
    for (const node of document.querySelectorAll("[data-freshness]")) markRow(node, word);
    this.#told(word);
  }
}

/** @param {HTMLElement} node an element with `data-freshness` */
export function markRow(node, word) {
  node.dataset.freshness = word;
  node.title = EXPLANATIONS[word];
  setText(node, LABELS[word]);
}
