/**
 * The server as the wire protocol promises it to be: topics with dense offsets, sessions that merge what waits
 * by key and let the urgent overtake, snapshots whose cursor is read before their state, and restored databases.
 */

import { parse } from "../../static/js/live/cursor.js";
import { isNewer } from "../../static/js/live/store.js";

class Topic {
  entries = [];
  base = 0;

  constructor(name, life) {
    this.name = name;
    this.epoch = `life${life}`;
  }

  get head() {
    return this.base + this.entries.length;
  }

  after(offset) {
    return this.entries.slice(offset - this.base);
  }
}

export class FakeServer {
  #lives = 0;
  #ties = new Map();
  topics = new Map();
  state = new Map();
  sessions = new Set();

  constructor(names) {
    for (const name of names) this.topics.set(name, new Topic(name, this.#lives));
  }

  get cursor() {
    return Array.from(this.topics.values(), ({ name, epoch, head }) => `${name}:${epoch}:${head}`).join(",");
  }

  /** Equal values have equal ties, as on the real one. */
  field(value, time) {
    if (!this.#ties.has(value)) this.#ties.set(value, (this.#ties.size * 7919) % 1009);
    return [value, time, this.#ties.get(value)];
  }

  /** Records fields of an entity by the merge rule, and makes the entry that tells of them. */
  record(topic, key, fields, urgent = false) {
    const known = this.state.get(key) ?? {};
    for (const [name, field] of Object.entries(fields)) if (isNewer(field, known[name])) known[name] = field;
    this.state.set(key, known);
    this.#append(topic, { key, fields, urgent });
  }

  /** The entity leaves this person's view. */
  remove(topic, key) {
    this.state.delete(key);
    this.#append(topic, { key, fields: {}, gone: true, urgent: true });
  }

  /** A database restored from an older copy: other state, other epochs, and all who listen must start over. */
  restore(state) {
    this.#lives += 1;
    this.state = state;
    for (const name of this.topics.keys()) this.topics.set(name, new Topic(name, this.#lives));
    for (const session of this.sessions) for (const name of this.topics.keys()) session.startOver(name, "epoch");
  }

  snapshot() {
    return { v: 1, type: "state", full: true, cursor: this.cursor, ...this.contents() };
  }

  contents() {
    return { entities: structuredClone(Object.fromEntries(this.state)), meta: {} };
  }

  /** A client's line was opened: greets it, and serves it until it closes. */
  serve(line) {
    const session = new FakeSession(this, line);
    this.sessions.add(session);
    session.greet();
    return session;
  }

  #append(name, entry) {
    const topic = this.topics.get(name);
    const { epoch } = topic;
    topic.entries.push({ type: "event", topic: name, epoch, offset: topic.head + 1, at: {}, ...entry });
  }
}

class FakeSession {
  #server;
  #line;
  #taken = new Map();
  /** Slots by topic and key, in the order in which they began to wait. */
  #waiting = new Map();

  constructor(server, line) {
    this.#server = server;
    this.#line = line;
  }

  get isOpen() {
    return !this.#line.closed;
  }

  greet() {
    const places = parse(this.#line.cursor);
    const topics = {};
    for (const { name, epoch, head } of this.#server.topics.values()) {
      const { epoch: theirs, offset } = places.get(name) ?? {};
      const recovered = theirs === epoch && offset <= head;
      this.#taken.set(name, recovered ? offset : head);
      topics[name] = { epoch, offset: this.#taken.get(name), recovered };
    }
    this.#line.hello({ topics });
    for (const [topic, { recovered }] of Object.entries(topics)) if (!recovered) this.#sayResync(topic, "epoch");
  }

  /** Takes the next `count` entries of a topic into what waits, merging by key. */
  take(name, count) {
    for (const entry of this.#server.topics.get(name).after(this.#taken.get(name)).slice(0, count)) {
      this.#taken.set(name, entry.offset);
      this.#put(structuredClone(entry));
    }
  }

  /** Sends up to `count` slots, urgent ones first. */
  send(count) {
    const slots = [...this.#waiting.values()].sort((a, b) => Number(b.urgent) - Number(a.urgent)).slice(0, count);
    for (const slot of slots) {
      this.#waiting.delete(slot.id);
      for (const [index, entry] of slot.entries.entries()) {
        const unsent = slot.entries.length - 1 - index ? [slot] : [];
        this.#line.frame({ ...entry, position: this.#position(entry.topic, unsent) });
      }
    }
  }

  drain() {
    for (const name of this.#server.topics.keys()) this.take(name, Infinity);
    this.send(Infinity);
  }

  /** Too much waits: it is dropped, and the client told to start over. */
  startOver(name, cause) {
    for (const [id, { topic }] of this.#waiting) if (topic === name) this.#waiting.delete(id);
    this.#taken.set(name, this.#server.topics.get(name).head);
    this.#sayResync(name, cause);
  }

  kill() {
    this.#server.sessions.delete(this);
    this.#line.end(1006);
  }

  #put(entry) {
    const id = `${entry.topic} ${entry.key}`;
    const slot = this.#waiting.get(id);
    if (slot === undefined) {
      this.#waiting.set(id, { id, topic: entry.topic, entries: [entry], oldest: entry.offset, urgent: entry.urgent });
      return;
    }
    const last = slot.entries.at(-1);
    slot.urgent ||= entry.urgent;
    if (entry.gone) slot.entries = [entry];
    else if (last.gone) slot.entries.push(entry);
    else slot.entries[slot.entries.length - 1] = merged(last, entry);
  }

  #position(topic, unsent) {
    const waiting = [...this.#waiting.values(), ...unsent].filter((slot) => slot.topic === topic);
    return Math.min(this.#taken.get(topic), ...waiting.map(({ oldest }) => oldest - 1));
  }

  #sayResync(topic, cause) {
    const { epoch } = this.#server.topics.get(topic);
    this.#line.frame({ type: "system", event: "resync", topic, cause, epoch, offset: this.#taken.get(topic) });
  }
}

function merged(before, after) {
  const fields = { ...before.fields };
  for (const [name, field] of Object.entries(after.fields)) if (isNewer(field, fields[name])) fields[name] = field;
  return { ...after, fields };
}
