/**
 * The entities on the page: where each is shown, read once at the start and patched in place from then on.
 */

import { isNewer } from "../live/store.js";
import { FrameQueue } from "./frame.js";
import { fieldNodes, readField, writeField, writeTime } from "./hooks.js";

const TIMES = { lastChange: "changed", lastConfirmed: "confirmed", lastHeard: "heard" };

export class Entities {
  #store;
  #roots = new Map();
  #nodes = new WeakMap();
  #queue = new FrameQueue((key) => this.#patch(key));

  /**
   * @param {import("../live/store.js").Store} store takes what the page shows, and tells what changes
   * @param {AbortSignal} signal ends it
   */
  constructor(store, signal) {
    this.#store = store;
    for (const root of document.querySelectorAll("[data-entity]")) this.#add(root);
    store.subscribe("*", ({ key }) => this.#queue.add(key), signal);
    document.addEventListener("animationend", ({ target }) => target.classList.remove("changed"), { signal });
  }

  /** Seeds what the page shows; what was known better meanwhile is patched in. */
  #add(root) {
    const key = root.dataset.entity;
    const roots = this.#roots.get(key) ?? new Set();
    this.#roots.set(key, roots.add(root));
    const known = fieldNodes(root).map((node) => [node.dataset.field, readField(node)]).filter(([, field]) => field);
    if (!known.length) return;
    this.#store.seed(key, Object.fromEntries(known), readTimes(root));
    const { fields } = this.#store.entity(key);
    if (known.some(([name, field]) => isNewer(fields[name], field))) this.#queue.add(key);
  }

  /** @param {HTMLElement} root was made from a template: it is filled with what the store knows */
  fill(root, key) {
    root.dataset.entity = key;
    const roots = this.#roots.get(key) ?? new Set();
    this.#roots.set(key, roots.add(root));
    this.#write(root, key);
  }

  /** @returns {HTMLElement[]} where an entity is shown */
  rootsOf(key) {
    return [...(this.#roots.get(key) ?? [])];
  }

  forget(key) {
    this.#roots.delete(key);
  }

  #patch(key) {
    if (!this.#store.entity(key)) return;
    for (const root of this.rootsOf(key)) for (const node of this.#write(root, key)) glow(node);
  }

  /** @returns {HTMLElement[]} those that show another value now */
  #write(root, key) {
    const { fields, meta } = this.#store.entity(key);
    const { shown, times } = this.#nodesOf(root);
    for (const [node, name] of times) writeTime(node, meta[name]);
    return shown.filter((node) => writeField(node, fields[node.dataset.field]));
  }

  /** Looked up at the first change, since most rows of a large fleet never change while they are looked at. */
  #nodesOf(root) {
    if (!this.#nodes.has(root)) this.#nodes.set(root, { shown: fieldNodes(root), times: timeNodes(root) });
    return this.#nodes.get(root);
  }
}

/** @returns {[HTMLTimeElement, string][]} with the name of the time that each shows */
function timeNodes(root) {
  const found = [];
  for (const node of root.querySelectorAll("time")) {
    const hook = Object.keys(TIMES).find((name) => name in node.dataset);
    if (hook && node.closest("[data-entity]") === root) found.push([node, TIMES[hook]]);
  }
  return found;
}

function readTimes(root) {
  return Object.fromEntries(timeNodes(root).map(([node, name]) => [name, Number(node.dataset.value ?? 0)]));
}

/** More at once show nobody where to look, and keep the browser painting. */
const MOST_GLOWS = 16;
const glowing = document.getElementsByClassName("changed");

/** Once for each change; who wants less motion gets none, by the style sheet. */
function glow(node) {
  if (glowing.length >= MOST_GLOWS) return;
  node.classList.remove("changed");
  requestAnimationFrame(() => node.classList.add("changed"));
}
