/**
 * The `data-*` hooks by which pages and browser share values: reading them, and writing them back.
 *
 * Markup comes from the server's templates, values go in as text; nothing is ever parsed as HTML.
 */

import * as format from "./format.js";

/** @typedef {import("../live/store.js").Field} Field */

/**
 * @param {Element} root an element with `data-entity`
 * @returns {HTMLElement[]} the elements that show its fields, without those of entities inside it
 */
export function fieldNodes(root) {
  return [...root.querySelectorAll("[data-field]")].filter((node) => node.closest("[data-entity]") === root);
}

/** @returns {Field | null} what an element shows; null while it shows nothing known */
export function readField({ dataset: { value, version } }) {
  if (!version) return null;
  const [time, tie] = version.split(":").map(Number);
  return [JSON.parse(value), time, tie];
}

/**
 * @param {HTMLElement} node
 * @param {Field | undefined} field
 * @returns {boolean} whether it shows another value now
 */
export function writeField(node, field) {
  const [value, time, tie] = field ?? [null, 0, 0];
  const json = JSON.stringify(value);
  const version = field ? `${time}:${tie}` : "";
  if (node.dataset.version === version) return false;
  const isOther = node.dataset.value !== json;
  node.dataset.version = version;
  node.dataset.value = json;
  if (node.dataset.format === "tree") node.replaceChildren(tree(value));
  else showText(node);
  return isOther;
}

/** @param {HTMLElement} node shows its value in its format */
export function showText(node) {
  setText(node, format.text(JSON.parse(node.dataset.value), node.dataset.format));
}

/** Writes only what differs: an untouched node costs no layout. */
export function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

/** @param {number} us microseconds; 0 while not known */
export function writeTime(node, us) {
  if (!node || node.dataset.value === String(us)) return;
  node.dataset.value = String(us);
  showTime(node, new Date());
}

/** Turns a time as the server wrote it into the viewer's, with the zone where no column's heading has it. */
export function showTime(node, now) {
  const us = Number(node.dataset.value);
  if (!us) return setText(node, format.UNKNOWN);
  const moment = format.timeOf(us);
  node.dateTime = moment.toISOString();
  node.title = format.fullTime(moment);
  const short = format.shortTime(moment, now);
  setText(node, node.closest("[data-rows]") ? short : `${short} ${format.zone(moment)}`);
}

/** @returns {HTMLElement} an element with classes and content */
export function element(name, { className = "", ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @returns {HTMLTimeElement} */
export function timeElement(us) {
  const node = document.createElement("time");
  writeTime(node, us);
  return node;
}

/** Settings whose shape nobody told us, as nested lists. */
function tree(value) {
  if (value === null || typeof value !== "object") return document.createTextNode(format.text(value, "text"));
  const items = Array.isArray(value) ? value.map((item) => [tree(item)]) : Object.entries(value).map(named);
  return element("ul", {}, ...items.map((parts) => element("li", {}, ...parts)));
}

function named([name, item]) {
  return [element("b", { textContent: format.words(name) }), " ", tree(item)];
}
