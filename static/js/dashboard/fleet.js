/**
 * Questions about many devices at once, the same as the server's pages ask: how many are how, which match what
 * a person asks for, and in which order. Pure.
 */

import { isRecording } from "./format.js";

const UPDATING = new Set(["Downloading", "Installing", "Rebooting"]);
const NATURAL = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/**
 * A device or archive as questions see it: its fields by name.
 *
 * @typedef {object} Item
 * @property {string} key
 * @property {string} id
 * @property {string} name what people call it; its id while no name is known
 * @property {Record<string, unknown>} values
 * @property {import("../live/store.js").Meta} meta
 */

/** @returns {Item} */
export function itemOf(key, { fields, meta }) {
  const values = Object.fromEntries(Object.entries(fields).map(([name, [value]]) => [name, value]));
  const id = key.slice(key.lastIndexOf("/") + 1);
  return { key, id, name: values.name || id, values, meta };
}

/** @returns {Item[]} all entities of a kind that the store knows */
export function itemsOf(store, kind) {
  const items = [];
  for (const key of store.keys()) if (key.startsWith(`${kind}/`)) items.push(itemOf(key, store.entity(key)));
  return items;
}

/** What the filter form offers, by the words that stand in the address. */
const STATUSES = {
  online: ({ values }) => values.online === true,
  offline: ({ values }) => values.online === false,
  recording: ({ values }) => isRecording(values.recording),
  updating: ({ values }) => UPDATING.has(values.fwUpdateState),
  failed: ({ values }) => values.fwUpdateState === "Failed",
};

const byName = (a, b) => NATURAL.compare(a.name, b.name) || (a.key < b.key ? -1 : 1);
const SORTS = {
  name: byName,
  site: (a, b) => NATURAL.compare(a.values.siteId ?? "", b.values.siteId ?? "") || byName(a, b),
  online: (a, b) => Number(a.values.online !== false) - Number(b.values.online !== false) || byName(a, b),
  changed: (a, b) => b.meta.changed - a.meta.changed || byName(a, b),
  heard: (a, b) => b.meta.heard - a.meta.heard || byName(a, b),
};

/**
 * @param {Item[]} devices
 * @returns {Record<string, number>} the overview's counters
 */
export function count(devices) {
  const counts = { devices: devices.length };
  for (const [name, is] of Object.entries(STATUSES)) counts[name] = devices.filter(is).length;
  return counts;
}

/**
 * @param {Item} item
 * @param {Record<string, string>} wanted the filter form: `q`, `status`, `site`, `state`
 * @param {string} [more] what the search looks at besides
 */
export function matches(item, { q = "", status = "", site = "", state = "" }, more = "") {
  return (
    (!q || searched(item, more).includes(q.trim().toLowerCase())) &&
    (STATUSES[status]?.(item) ?? true) &&
    (!site || item.values.siteId === site) &&
    (!state || item.values.state === state)
  );
}

/** @returns {(a: Item, b: Item) => number} */
export function order({ sort = "" }) {
  return SORTS[sort] ?? byName;
}

function searched({ id, name, values: { model = "", siteId = "" } }, more) {
  return [name, id, model, siteId, more].join(" ").toLowerCase();
}
