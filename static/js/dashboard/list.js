/**
 * A list page: rows for what the store knows and the filter form asks for, filtered and sorted as one types.
 *
 * The first rows are the server's. Where the server could not send everything (`data-complete` is not "true"),
 * the filter stays the server's too, and only what is there is kept right.
 */

import { itemOf, itemsOf, matches, order } from "./fleet.js";
import { FrameQueue } from "./frame.js";
import { element, setText } from "./hooks.js";
import { renderNow, renderSoon } from "./render.js";
import { makeRow } from "./template.js";

export class List {
  #feed;
  #entities;
  #form;
  #body;
  #kind;
  #queue = new FrameQueue(() => this.#render());

  /** @returns {List | null} the page's list; null when it has none, or not all of it */
  static begin(feed, entities, signal) {
    const form = document.querySelector("[data-filter]");
    const isWhole = form?.dataset.complete === "true" && !document.querySelector("[rel=next], [rel=prev]");
    return isWhole ? new List(feed, entities, form, signal) : null;
  }

  constructor(feed, entities, form, signal) {
    this.#feed = feed;
    this.#entities = entities;
    this.#form = form;
    this.#kind = form.dataset.filter;
    this.#body = document.querySelector(`[data-rows="${this.#kind}"] tbody`);
    form.addEventListener("input", () => this.#filter());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#filter();
    });
    const concerns = ({ key }) => key.startsWith(`${this.#kind}/`);
    feed.store.subscribe("*", (change) => concerns(change) && this.#changed(change), signal);
    if (this.#body && itemsOf(feed.store, this.#kind).some(({ key }) => !this.#row(key))) this.#queue.add(this.#body);
    // A page that was filtered by the server knows only what matched then.
    if (Object.keys(this.#wanted()).some((name) => name !== "sort")) feed.refresh();
  }

  /** @returns {Record<string, string>} the filters that are set, as in the address; a first choice sets nothing */
  #wanted() {
    const fields = [...this.#form.elements];
    const set = fields.filter(({ name, value, selectedIndex }) => name && value && selectedIndex !== 0);
    return Object.fromEntries(set.map(({ name, value }) => [name, value]));
  }

  #filter() {
    const query = new URLSearchParams(this.#wanted()).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    if (this.#body) this.#queue.add(this.#body);
    else renderNow();
  }

  /** Rows come and go by what they are; they do not move under the reader's eyes for having changed. */
  #changed({ key, created, gone }) {
    if (gone) this.#remove(key);
    if (!this.#body) renderSoon();
    else if (created || gone || this.#isShown(key) !== this.#isWanted(key)) this.#queue.add(this.#body);
  }

  #isShown(key) {
    return this.#entities.rootsOf(key).some((row) => !row.hidden);
  }

  #isWanted(key, wanted = this.#wanted()) {
    const item = itemOf(key, this.#feed.store.entity(key));
    return matches(item, wanted, this.#deviceOf(item));
  }

  #remove(key) {
    for (const root of this.#entities.rootsOf(key)) root.remove();
    this.#entities.forget(key);
  }

  #render() {
    const wanted = this.#wanted();
    const items = itemsOf(this.#feed.store, this.#kind);
    const shown = items.filter(({ key }) => this.#isWanted(key, wanted)).sort(order(wanted));
    this.#hideOthers(new Set(shown.map(({ key }) => key)));
    this.#place(shown.map(({ key }) => this.#rowOf(key)));
    this.#tell(shown.length, items.length);
  }

  #rowOf(key) {
    return this.#row(key) ?? makeRow(this.#feed, this.#entities, this.#kind, key);
  }

  #row(key) {
    return this.#entities.rootsOf(key)[0];
  }

  #hideOthers(keys) {
    for (const row of this.#body.children) if (row.dataset.entity) row.hidden = !keys.has(row.dataset.entity);
  }

  /** Moves only what is out of place: rows that stay where they are cost nothing, and keep their focus. */
  #place(rows) {
    let at = this.#body.firstElementChild;
    for (const row of rows) {
      while (at && at !== row && at.hidden) at = at.nextElementSibling;
      if (at === row) at = at.nextElementSibling;
      else this.#body.insertBefore(row, at);
    }
  }

  #tell(shown, total) {
    setText(this.#form.querySelector('[data-count="shown"]'), String(shown));
    setText(this.#form.querySelector(`[data-count="${this.#kind}s"]`), String(total));
    const table = this.#body.closest("table");
    table.setAttribute("aria-rowcount", String(shown));
    this.#tellEmpty(shown === 0, table);
  }

  #tellEmpty(isEmpty, table) {
    const frame = table.parentElement;
    const note = frame.querySelector("[data-empty]");
    if (isEmpty && !note) frame.append(emptyNote());
    if (!isEmpty) note?.remove();
  }

  /** An archive is also found by its device's name. */
  #deviceOf({ key, values: { deviceId } }) {
    if (!deviceId) return "";
    const device = `device/${key.split("/")[1]}/${deviceId}`;
    const entity = this.#feed.store.entity(device);
    return entity ? itemOf(device, entity).name : deviceId;
  }
}

function emptyNote() {
  const note = element("p", { className: "empty", textContent: "Nothing you may see fits this search." });
  note.dataset.empty = "";
  return note;
}
