/**
 * Which transport to try next, and why not the others.
 *
 * One try of a connection is a round: the favourite first, then the others in the configured order, without a
 * wait between them; a round in which nothing worked costs a backoff. A transport that has proved itself keeps
 * the favour through a few failures, since they are rather the server's. What worked is remembered for the next
 * page; the configured first is tried again beside a working lesser one, more and more rarely.
 */

/** Failures in a row that a proven transport may have before a round goes on to the others. */
export const LOYALTY = 2;

/** Stalls within `STALL_WINDOW_MS` that make even a working transport lose the favour. */
export const STALLS = 2;
export const STALL_WINDOW_MS = 5 * 60_000;

/** The first and the longest wait before the better transport is tried again. */
export const CLIMB_MS = 15_000;
export const CLIMB_CAP_MS = 15 * 60_000;

/** Climbs enough for the longest wait: nobody is taken away soon from what they chose. */
const MANY_CLIMBS = 10;

/** For how long another page's experience of this network is believed. */
export const MEMORY_MS = 60 * 60_000;

/**
 * @typedef {object} Memory what outlives the page
 * @property {() => string | null} read
 * @property {(text: string) => void} write
 */

/** @type {Memory} */
const NO_MEMORY = { read: () => null, write: () => {} };

class Record {
  proven = false;
  failures = 0;
  stalls = [];
  /** @type {{cause: string, at: number} | null} */
  last = null;
}

export class Choice {
  #names;
  #clock;
  #memory;
  #records;
  #favourite;
  #current;
  #tried = new Set();
  #climbs = 0;
  #climbAt = Infinity;

  /**
   * @param {string[]} names transports in the configured order
   * @param {import("./clock.js").Clock} clock
   * @param {Memory} [memory]
   */
  constructor(names, clock, memory = NO_MEMORY) {
    this.#names = names;
    this.#clock = clock;
    this.#memory = memory;
    this.#records = new Map(names.map((name) => [name, new Record()]));
    this.#current = this.#favourite = this.#remembered() ?? names[0];
  }

  /** @returns {string} the transport of the next try */
  get current() {
    return this.#current;
  }

  /** @returns {boolean} whether the current one is what the configuration prefers */
  get isFirst() {
    return this.#current === this.#names[0];
  }

  /** @returns {{name: string, cause: string, at: number}[]} the last failure of each that had one */
  get failures() {
    return this.#names.flatMap((name) => {
      const { last } = this.#records.get(name);
      return last ? [{ name, ...last }] : [];
    });
  }

  /** @returns {number} when to try a better transport beside the current one; Infinity for never */
  get climbAt() {
    return this.#climbAt;
  }

  /** @returns {string} the one to climb to */
  get better() {
    return this.#names[0];
  }

  /** The transport carried a hello. */
  reached(name) {
    this.#current = name;
    this.#tried.clear();
    this.#climbAt = this.isFirst ? Infinity : this.#clock.now() + this.#climbDelay();
  }

  /** The current transport has carried a session for long enough to be trusted. */
  proved() {
    const record = this.#records.get(this.#current);
    record.proven = true;
    record.failures = 0;
    this.#favourite = this.#current;
    if (this.isFirst && this.#recentStalls(record) === 0) this.#climbs = 0;
    this.#memory.write(`${this.#current}@${this.#clock.now()}`);
  }

  /** The better transport was tried beside the current one, in vain. */
  climbFailed(cause) {
    this.#blame(this.better, cause);
    this.#climbs += 1;
    this.#climbAt = this.#clock.now() + this.#climbDelay();
  }

  /**
   * The current transport could not carry a session.
   *
   * @param {string} cause
   * @param {boolean} stalled it was up, and went silent
   * @returns {boolean} whether another is to be tried at once; else the round is over
   */
  failed(cause, stalled = false) {
    const record = this.#blame(this.#current, cause);
    if (stalled) record.stalls.push(this.#clock.now());
    const stallsOften = this.#recentStalls(record) >= STALLS;
    if (stallsOften) this.#climbs += 1;
    if (record.proven && record.failures <= LOYALTY && !stallsOften) return this.#endRound();
    this.#tried.add(this.#current);
    const untried = this.#names.find((name) => !this.#tried.has(name));
    if (untried === undefined) return this.#endRound();
    this.#current = untried;
    return true;
  }

  /** A person wants another one: the next in order, round and round. */
  skip() {
    const after = this.#names.indexOf(this.#current) + 1;
    this.#current = this.#favourite = this.#names[after % this.#names.length];
    this.#climbs = MANY_CLIMBS;
  }

  /** A person or the browser says that the network changed: experience with the old one means little. */
  forgive() {
    for (const record of this.#records.values()) record.failures = 0;
    this.#endRound();
  }

  #endRound() {
    this.#tried.clear();
    this.#current = this.#favourite;
    return false;
  }

  #blame(name, cause) {
    const record = this.#records.get(name);
    record.failures += 1;
    record.last = { cause, at: this.#clock.now() };
    return record;
  }

  #recentStalls(record) {
    const since = this.#clock.now() - STALL_WINDOW_MS;
    record.stalls = record.stalls.filter((at) => at >= since);
    return record.stalls.length;
  }

  #climbDelay() {
    return Math.min(CLIMB_CAP_MS, CLIMB_MS * 2 ** this.#climbs);
  }

  #remembered() {
    const [name, at] = (this.#memory.read() ?? "").split("@");
    const fresh = this.#records.has(name) && this.#clock.now() - at < MEMORY_MS;
    if (fresh) this.#records.get(name).proven = true;
    return fresh ? name : null;
  }
}
