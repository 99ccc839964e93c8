/**
 * How far this client has come in each of its topics.
 *
 * A frame has an `offset`, and a `position` where it differs: the highest offset up to which everything was
 * sent, or replaced by something that was sent. Only the position is a safe place to go on from; an urgent
 * frame may overtake, so the offsets seen above the position are remembered, and shown no second time.
 */

/**
 * @param {string} text `topic:epoch:offset` joined with commas; a topic may itself contain colons
 * @returns {Map<string, {epoch: string, offset: number}>}
 */
export function parse(text) {
  const places = new Map();
  for (const part of text.split(",").filter(Boolean)) {
    const [, topic, epoch, offset] = /^(.+):([^:]+):(\d+)$/.exec(part) ?? [];
    if (topic === undefined) throw new Error(`not a cursor: ${part}`);
    places.set(topic, { epoch, offset: Number(offset) });
  }
  return places;
}

/**
 * @param {Iterable<[string, {epoch: string, offset: number}]>} places
 * @returns {string}
 */
export function format(places) {
  return Array.from(places, ([topic, { epoch, offset }]) => `${topic}:${epoch}:${offset}`).join(",");
}

/** The place in one life of one topic. */
class Place {
  /** Offsets above `offset` that arrived already, with their keys. */
  #ahead = new Map();

  constructor(epoch, offset) {
    this.epoch = epoch;
    this.offset = offset;
  }

  /** @returns {boolean} whether the frame tells anything new */
  see(offset, position, key) {
    const fresh = offset > this.offset && !this.#ahead.has(offset) && !this.#isReplaced(offset, key);
    if (offset > this.offset) this.#ahead.set(offset, key);
    if (position > this.offset) this.#advance(position);
    while (this.#ahead.delete(this.offset + 1)) this.offset += 1;
    return fresh;
  }

  get highest() {
    return Math.max(this.offset, ...this.#ahead.keys());
  }

  /**
   * A later frame of the same key that came before stood for this one too: order is promised by key. A session
   * that goes on from below both sends this one anew, and it must not bring back what the later one ended.
   */
  #isReplaced(offset, key) {
    for (const [other, itsKey] of this.#ahead) if (itsKey === key && other > offset) return true;
    return false;
  }

  #advance(position) {
    this.offset = position;
    for (const offset of this.#ahead.keys()) if (offset <= position) this.#ahead.delete(offset);
  }
}

/** The places in all topics of a session. */
export class Cursor {
  /** @type {Map<string, Place>} */
  #places = new Map();

  /** @param {string} [text] a cursor as the page, the snapshot or `hello` gave it */
  constructor(text = "") {
    for (const [topic, { epoch, offset }] of parse(text)) this.#places.set(topic, new Place(epoch, offset));
  }

  /**
   * Takes note of an event frame.
   *
   * @param {{topic: string, epoch: string, offset: number, position?: number, key: string}} frame
   * @returns {"new" | "seen" | "foreign"} `foreign`: of another life of the topic, so the place means nothing
   */
  see({ topic, epoch, offset, position = offset, key }) {
    const place = this.#places.get(topic) ?? this.#begin(topic, epoch, offset, position);
    if (place.epoch !== epoch) return "foreign";
    return place.see(offset, position, key) ? "new" : "seen";
  }

  /** A topic that nobody named begins just below its first frame. */
  #begin(topic, epoch, offset, position) {
    const place = new Place(epoch, Math.min(offset - 1, position));
    this.#places.set(topic, place);
    return place;
  }

  /**
   * Takes what the server says of a session's topics: goes on from its own places where the server can, and
   * from the server's elsewhere.
   *
   * @param {Record<string, {epoch: string, offset: number, recovered: boolean}>} topics
   * @returns {string[]} topics in which something may have been missed
   */
  meet(topics) {
    const broken = [];
    for (const [topic, { epoch, offset, recovered }] of Object.entries(topics)) {
      const place = this.#places.get(topic);
      if (place?.epoch === epoch && recovered) continue;
      if (place !== undefined) broken.push(topic);
      this.#places.set(topic, new Place(epoch, offset));
    }
    return broken;
  }

  /** @returns {Cursor} a mark of the highest offset seen so far in each topic */
  mark() {
    const mark = new Cursor();
    for (const [topic, place] of this.#places) mark.#places.set(topic, new Place(place.epoch, place.highest));
    return mark;
  }

  /** @returns {boolean} whether nothing that the mark has seen lies above this cursor */
  covers(mark) {
    for (const [topic, { epoch, offset }] of mark.#places) {
      const place = this.#places.get(topic);
      if (place?.epoch === epoch && place.offset < offset) return false;
    }
    return true;
  }

  /** Takes another cursor's places for its own; topics that the other does not name stay. */
  moveTo(other) {
    for (const [topic, { epoch, offset }] of other.#places) this.#places.set(topic, new Place(epoch, offset));
  }

  toString() {
    return format(this.#places);
  }
}
