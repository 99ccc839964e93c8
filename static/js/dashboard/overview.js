/**
 * The overview: counters, fleet map and activity, kept right.
 */

import { freshness } from "../live/freshness.js";
import { count, itemOf, itemsOf } from "./fleet.js";
import * as format from "./format.js";
import { atMostEvery } from "./frame.js";
import { element, setText, timeElement } from "./hooks.js";
import { renderAsTheyComeAndGo, renderSoon } from "./render.js";
import { deviceAddress, makeRow } from "./template.js";
import { isOwn } from "./view.js";

/** How often numbers and lines may change: more often nobody can read. */
const CALM_MS = 250;

/** As many lines of activity as the server renders. */
const LINES = 14;

/** Fields whose changes are no news. */
const QUIET = new Set(["fwProgress", "progress"]);

export class Overview {
  #feed;
  #entities;
  #activity = document.querySelector("[data-activity]");
  #waiting = [];
  #countAgain = atMostEvery(CALM_MS, () => this.#count());
  #listActivity = atMostEvery(CALM_MS, () => this.#list());

  constructor(feed, entities, signal) {
    this.#feed = feed;
    this.#entities = entities;
    feed.store.subscribe("*", (change) => this.#changed(change), signal);
    renderAsTheyComeAndGo(feed.store, ["organization"], signal);
    for (const { key } of itemsOf(feed.store, "device")) this.#place({ key, created: true, gone: false });
  }

  /** How many devices are not current depends on it. */
  freshnessChanged() {
    this.#countAgain();
  }

  #changed(change) {
    if (change.key.startsWith("device/")) {
      this.#place(change);
      this.#countAgain();
    }
    if (change.event && change.fields.length) this.#note(change);
  }

  #place({ key, created, gone }) {
    if (gone) this.#removeCell(key);
    else if (created && !this.#entities.rootsOf(key).length) this.#addCell(key);
  }

  #addCell(key) {
    const site = this.#feed.store.value(key, "siteId") ?? "";
    const group = document.querySelector(`[data-site="${CSS.escape(site)}"]`);
    if (!group) return renderSoon();
    group.querySelector("ul").append(element("li", {}, makeRow(this.#feed, this.#entities, "device", key)));
    countCells(group);
  }

  #removeCell(key) {
    for (const root of this.#entities.rootsOf(key)) {
      const group = root.closest("[data-site]");
      root.closest("li")?.remove();
      if (group) countCells(group);
    }
    this.#entities.forget(key);
  }

  #count() {
    const devices = itemsOf(this.#feed.store, "device");
    const counts = { ...count(devices), stale: freshness(this.#feed.status) === "current" ? 0 : devices.length };
    for (const node of document.querySelectorAll("[data-count]")) setText(node, String(counts[node.dataset.count]));
  }

  #note({ key, fields, event }) {
    const news = fields.filter((name) => !QUIET.has(name));
    if (!news.length || isOwn(key) || event.source === "snapshot") return;
    for (const name of news) this.#waiting.push({ key, name, field: event.fields[name] });
    this.#waiting = this.#waiting.slice(-LINES);
    this.#listActivity();
  }

  #list() {
    if (!this.#activity) return;
    this.#activity.querySelector("[data-activity-empty]")?.remove();
    this.#activity.prepend(...this.#waiting.splice(0).reverse().map((news) => this.#line(news)));
    while (this.#activity.children.length > LINES) this.#activity.lastElementChild.remove();
  }

  #line({ key, name, field: [value, time] }) {
    const entity = this.#feed.store.entity(key);
    const called = entity ? itemOf(key, entity).name : key;
    const who = key.startsWith("device/") ? element("a", { href: deviceAddress(key), textContent: called }) : called;
    const shown = element("span", { className: "line-value", textContent: format.shownAs(value, name) });
    const what = element("span", {}, `${format.label(name)}: `, shown);
    return element("li", {}, element("b", {}, who), " ", what, " ", timeElement(time));
  }
}

function countCells(group) {
  setText(group.querySelector("h3 span"), String(group.querySelectorAll("li").length));
}
