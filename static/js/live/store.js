/**
 * The state of everything that this browser may see, kept right by events and snapshots.
 *
 * An entity has a key (`device/<org>/<id>`) and fields; a field carries the version of the fact that set it.
 * Recording, feed and browser apply one rule: only a newer fact overwrites. So an event that comes twice, late
 * or out of order is harmless, and the order in which a snapshot and the events around it arrive means nothing.
 */

import { Cursor } from "./cursor.js";

/**
 * A field's wire form: its value, and its version (`time` in microseconds, `tie` made from the value).
 *
 * @typedef {[value: unknown, time: number, tie: number]} Field
 * @typedef {Record<string, Field>} Fields
 *
 * When an entity last changed, was last known to hold, and was last heard of, in microseconds.
 * @typedef {{changed: number, confirmed: number, heard: number}} Meta
 *
 * @typedef {object} Change
 * @property {string} key
 * @property {string[]} fields the names of those that took another value
 * @property {boolean} created
 * @property {boolean} gone the entity left this person's view
 * @property {object | null} event the frame that told of it; null when a snapshot did
 */

/**
 * The merge rule.
 *
 * @param {Field} incoming
 * @param {Field | undefined} current
 * @returns {boolean} whether the incoming fact is the newer one; false for an equal version: a duplicate
 */
export function isNewer(incoming, current) {
  if (current === undefined) return true;
  return incoming[1] > current[1] || (incoming[1] === current[1] && incoming[2] > current[2]);
}

/** @typedef {{fields: Fields, meta: Meta}} Entity */

export class Store {
  /** @type {Map<string, Entity>} */
  #entities = new Map();
  /** @type {Map<string, Set<(change: Change) => void>>} */
  #subscribers = new Map();
  /**
   * While a snapshot is awaited: what it must cover at least, and the events since, which it may not cover.
   *
   * @type {{mark: Cursor, events: object[]} | null}
   */
  #awaited = null;
  #isAside;

  /**
   * @param {string} [cursor] where the events go on that follow the first state
   * @param {(key: string, store: Store) => boolean} [isAside] whether a key is of what this person does not look at
   *   now: the snapshot leaves it out, and its events are passed over
   */
  constructor(cursor = "", isAside = () => false) {
    this.cursor = new Cursor(cursor);
    this.#isAside = isAside;
  }

  /** Whether something may have been missed, which the next snapshot brings. */
  get isIncomplete() {
    return this.#awaited !== null;
  }

  /** @returns {Iterable<string>} */
  keys() {
    return this.#entities.keys();
  }

  /** @returns {Entity | undefined} not to be changed by the caller */
  entity(key) {
    return this.#entities.get(key);
  }

  /** @returns {unknown} a field's value; undefined while it is not known */
  value(key, name) {
    return this.#entities.get(key)?.fields[name]?.[0];
  }

  /** Takes what the page was rendered with. Nobody is told: it is on the screen already. */
  seed(key, fields, meta = {}) {
    const entity = this.#entities.get(key) ?? blank();
    this.#entities.set(key, entity);
    takeNewer(entity.fields, fields);
    Object.assign(entity.meta, meta);
  }

  /**
   * @param {string} key an entity's, or `*` for all
   * @param {(change: Change) => void} tell
   * @param {AbortSignal} [signal] ends it
   */
  subscribe(key, tell, signal) {
    const all = this.#subscribers.get(key) ?? new Set();
    this.#subscribers.set(key, all.add(tell));
    signal?.addEventListener("abort", () => all.delete(tell));
  }

  /**
   * Applies an event frame, unless it was seen before.
   *
   * @returns {"new" | "seen" | "foreign"} `foreign` needs a resync: the topic began another life
   */
  apply(event) {
    const seen = this.cursor.see(event);
    if (seen === "seen") return seen;
    this.#awaited?.events.push(event);
    if (seen === "new") this.#tell(this.#merge(event));
    return seen;
  }

  /**
   * Something before now is missing, and a snapshot that is read after now will bring it. Until its `replace`,
   * events are applied as ever and kept aside too. Call it again when more is missing.
   */
  expectSnapshot() {
    this.#awaited = { mark: this.cursor.mark(), events: this.#awaited?.events ?? [] };
  }

  /**
   * Puts a `state` frame in the place of everything, with the events on top that arrived while it was on its
   * way, and tells what differs.
   *
   * @param {{cursor: string, entities: Record<string, Fields>, meta?: Record<string, Meta>}} state
   * @returns {boolean} false: it was read before something that is known already, and was not used
   */
  replace(state) {
    const { mark, events } = this.#awaited ?? { mark: this.cursor.mark(), events: [] };
    const cursor = new Cursor(state.cursor);
    if (!cursor.covers(mark)) return false;
    const before = this.#entities;
    this.#awaited = null;
    this.#entities = entitiesOf(state);
    this.cursor.moveTo(cursor);
    for (const event of events) if (this.cursor.see(event) === "new") this.#merge(event);
    for (const change of differences(before, this.#entities)) this.#tell(change);
    return true;
  }

  /** @returns {Change | null} null: the frame told nothing that concerns this person now */
  #merge(event) {
    return this.#isAside(event.key, this) ? null : merge(this.#entities, event);
  }

  /** @param {Change | null} change */
  #tell(change) {
    if (change === null) return;
    for (const to of [change.key, "*"]) for (const tell of this.#subscribers.get(to) ?? []) tell(change);
  }
}

/** @returns {Entity} */
function blank() {
  return { fields: {}, meta: { changed: 0, confirmed: 0, heard: 0 } };
}

/** @returns {Map<string, Entity>} */
function entitiesOf({ entities, meta = {} }) {
  const made = new Map();
  for (const [key, fields] of Object.entries(entities)) {
    made.set(key, { fields: { ...fields }, meta: { ...blank().meta, ...meta[key] } });
  }
  return made;
}

/** @returns {string[]} the names of the fields that took another value */
function takeNewer(fields, incoming) {
  const changed = [];
  for (const [name, field] of Object.entries(incoming)) {
    const current = fields[name];
    if (!isNewer(field, current)) continue;
    fields[name] = field;
    if (!isSameValue(field, current)) changed.push(name);
  }
  return changed;
}

/** The tie is made from the value: equal ties are equal values. */
function isSameValue(field, other) {
  return other !== undefined && field[2] === other[2];
}

/**
 * @param {Map<string, Entity>} entities changed in place
 * @returns {Change | null} null: the frame told nothing that was not known
 */
function merge(entities, event) {
  const { key, fields = {}, gone = false } = event;
  if (gone) return entities.delete(key) ? { key, fields: [], created: false, gone, event } : null;
  const created = !entities.has(key);
  const entity = entities.get(key) ?? blank();
  entities.set(key, entity);
  const changed = takeNewer(entity.fields, fields);
  noteTimes(entity.meta, event, changed);
  return { key, fields: changed, created, gone, event };
}

/** @param {Meta} meta changed in place */
function noteTimes(meta, { fields, at }, changed) {
  meta.heard = Math.max(meta.heard, at?.received ?? 0);
  for (const name of changed) meta.changed = Math.max(meta.changed, fields[name][1]);
}

/** @returns {Generator<Change>} what turns `before` into `after` */
function* differences(before, after) {
  for (const key of before.keys()) {
    if (!after.has(key)) yield { key, fields: [], created: false, gone: true, event: null };
  }
  for (const [key, { fields }] of after) {
    const old = before.get(key);
    const names = Object.keys(fields).filter((name) => !isSameValue(fields[name], old?.fields[name]));
    if (old === undefined || names.length) {
      yield { key, fields: names, created: old === undefined, gone: false, event: null };
    }
  }
}
