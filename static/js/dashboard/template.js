/**
 * Rows, cells and lines made from the page's own templates, or from its elements where a template has no say.
 */

import { freshness } from "../live/freshness.js";
import { markRow } from "./pill.js";

/** @returns {string} the address of a device's page */
export function deviceAddress(key) {
  const [, org, id] = key.split("/");
  return `/devices/${encodeURIComponent(org)}/${encodeURIComponent(id)}/`;
}

/**
 * @param {import("../live/feed.js").Feed} feed
 * @param {import("./entities.js").Entities} entities
 * @param {string} kind of `template[data-row]`
 * @param {string} key of the entity that it shows from now on
 * @returns {HTMLElement} the filled row, in no document yet
 */
export function makeRow(feed, entities, kind, key) {
  const template = document.querySelector(`template[data-row="${kind}"]`);
  const row = template.content.querySelector("[data-entity]").cloneNode(true);
  const link = row.matches("[data-link]") ? row : row.querySelector("[data-link]");
  if (link) link.href = deviceAddress(key);
  const id = row.querySelector("[data-id]");
  if (id) id.textContent = key.slice(key.lastIndexOf("/") + 1);
  for (const node of row.querySelectorAll("[data-freshness]")) markRow(node, freshness(feed.status));
  entities.fill(row, key);
  return row;
}
