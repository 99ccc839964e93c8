/**
 * The live feed of a page: a connection whose frames keep a store right.
 *
 * What events cannot repair (another epoch, an overflow, a cursor that the server no longer keeps) the snapshot
 * does: it is fetched until it comes, while the events go on, and put in the place of the store's state.
 */

import { backoff } from "./backoff.js";
import { systemClock } from "./clock.js";
import { Connection } from "./connection.js";

/** The frames that tell of one loss, a topic each, come together: they are answered by one snapshot. */
export const GATHER_MS = 50;

/** The entity that tells of this person's own upstream link. */
export const LINK = "link/self";

/**
 * @typedef {object} FeedStatus everything that decides whether what is shown is so
 * @property {import("./connection.js").Status} connection browser to server
 * @property {{worker: "alive" | "silent", since: number} | null} upstream the worker; null while nothing is known
 * @property {{layer: "ok" | "down", since?: number} | null} path between the processes; null while nothing is known
 * @property {{state?: string, reason?: string, since?: number, gap?: {since: number, cause: string} | null,
 *   next_try?: number | null}} link worker to source, as far as known
 * @property {boolean} resyncing something may be missing, and the snapshot that has it is on its way
 * @property {string | null} snapshotError why it could not be fetched, so far
 * @property {Record<string, number>} resyncs how often one was needed, by cause
 */

export class Feed {
  #clock;
  #random;
  #fetchState;
  #changed;
  #refused;
  #loading = null;
  #cancelLoad = () => {};
  #missing = false;
  #resyncs = {};
  #snapshotError = null;
  #upstream = null;
  #path = null;
  #skew = 0;

  /**
   * @param {object} options
   * @param {import("./store.js").Store} options.store
   * @param {import("./transports/websocket.js").Transport[]} options.transports in the order of preference
   * @param {(signal: AbortSignal) => Promise<object>} options.fetchState gives a `state` frame, or rejects
   * @param {() => void} [options.changed] after every change of the status
   * @param {(error: object) => void} [options.refused] takes the server's `error` frames
   * @param {import("./clock.js").Clock} [options.clock]
   * @param {() => number} [options.random]
   * @param {import("./choice.js").Memory} [options.memory]
   */
  constructor(options) {
    const { store, transports, fetchState, changed = () => {}, refused = () => {}, memory } = options;
    const { clock = systemClock, random = Math.random } = options;
    this.store = store;
    this.#clock = clock;
    this.#random = random;
    this.#fetchState = fetchState;
    this.#changed = changed;
    this.#refused = refused;
    store.subscribe(LINK, () => this.#changed());
    this.connection = new Connection({
      transports,
      cursor: () => String(store.cursor),
      frame: (frame) => this.#take(frame),
      changed: (status) => this.#connectionChanged(status),
      clock,
      random,
      memory,
    });
  }

  /** @returns {FeedStatus} */
  get status() {
    const link = this.store.entity(LINK)?.fields ?? {};
    return {
      connection: this.connection.status,
      upstream: this.#upstream,
      path: this.#path,
      link: Object.fromEntries(Object.entries(link).map(([name, [value]]) => [name, value])),
      resyncing: this.#missing,
      snapshotError: this.#snapshotError,
      resyncs: { ...this.#resyncs },
    };
  }

  /** @returns {number} the server's time, in milliseconds: what ages are counted from */
  get serverTime() {
    return this.#clock.now() + this.#skew;
  }

  /** Fetches the whole state although nothing is missing: the page was rendered with a part of it. */
  refresh() {
    this.store.expectSnapshot();
    this.#load();
  }

  #take(frame) {
    switch (frame.type) {
      case "event":
        return this.#event(frame);
      case "state":
        return this.#replace(frame);
      case "hello":
        return this.#hello(frame);
      case "system":
        return this.#system(frame);
      case "error":
        return this.#refused(frame);
    }
  }

  #hello({ topics, t }) {
    this.#skew = t / 1000 - this.#clock.now();
    const broken = this.store.cursor.meet(topics);
    if (broken.length) this.#resync("cursor");
    else if (this.store.isIncomplete && !this.#loading) this.#load();
  }

  #event(event) {
    if (this.store.apply(event) === "foreign") this.#resync("epoch");
  }

  #system(frame) {
    if (frame.event === "resync") return this.#startOver(frame);
    if (frame.event === "upstream") this.#upstream = { worker: frame.worker, since: frame.since };
    if (frame.event === "path") this.#path = { layer: frame.layer, since: frame.since };
    this.#changed();
  }

  #startOver({ topic, epoch, offset, cause }) {
    this.store.cursor.meet({ [topic]: { epoch, offset, recovered: false } });
    this.#resync(cause);
  }

  #resync(cause) {
    this.#missing = true;
    this.#resyncs[cause] = (this.#resyncs[cause] ?? 0) + 1;
    this.refresh();
    this.#changed();
  }

  /** Fetches the snapshot anew: one that was asked for before this loss may not cover it. */
  #load() {
    this.#stopLoading();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    const delays = backoff({ random: this.#random });
    const attempt = async () => {
      if (await this.#loadOnce(signal)) return;
      this.#cancelLoad = this.#clock.after(GATHER_MS + delays.next().value, attempt);
    };
    this.#cancelLoad = this.#clock.after(GATHER_MS, attempt);
  }

  /** @returns {Promise<boolean>} whether there is nothing left to do */
  async #loadOnce(signal) {
    try {
      const state = await this.#fetchState(signal);
      return signal.aborted || this.#replace(state);
    } catch (error) {
      if (signal.aborted) return true;
      this.#snapshotError = error.message;
      this.#changed();
      return false;
    }
  }

  #stopLoading() {
    this.#cancelLoad();
    this.#loading?.abort();
    this.#loading = null;
  }

  #replace(state) {
    if (!this.store.replace(state)) return false;
    this.#stopLoading();
    this.#missing = false;
    this.#snapshotError = null;
    this.#changed();
    return true;
  }

  /** Nothing is fetched for a page that is gone or signed out; the next hello takes the missing part up. */
  #connectionChanged({ state }) {
    if (state === "closed" || state === "failed") this.#stopLoading();
    this.#changed();
  }
}
