/**
 * The one connection of a page to the server: wants to be up, and says truthfully what it is.
 *
 * It outlives its sessions: each next one goes on from the cursor, over whichever transport works. `states.js`
 * has the states, `choice.js` the transports, `closings.js` the server's refusals, `session.js` the life between.
 */

import { backoff } from "./backoff.js";
import { Choice } from "./choice.js";
import { systemClock } from "./clock.js";
import { closing } from "./closings.js";
import { Session } from "./session.js";
import { next } from "./states.js";

/** A session that lived for so long proves its transport, and ends the backoff. */
export const STABLE_MS = 10_000;

/** The watch that notices sleep: a page that wakes has to be right within about a second. */
export const WATCH_MS = 1_000;

/** Timers of a hidden page may come a minute late; a false alarm costs one ping. */
const SLEPT_MS = 5_000;

/** When the server says "too many" without saying for how long. */
const RETRY_AFTER_MS = 30_000;

const TOO_MANY = 4429;
const OUTDATED = 4426;

/** The version of the wire protocol that is spoken here. */
const VERSION = 1;

/**
 * @typedef {object} Status what the connection is, for people
 * @property {string} state a state of `states.js`
 * @property {string | null} transport the one in use, or being tried
 * @property {boolean} fallback whether that is not the one that the configuration prefers
 * @property {{name: string, cause: string, at: number}[]} failures why the other transports did not carry
 * @property {number | null} since when the connection was lost (milliseconds); null while it is up
 * @property {number | null} nextTry when it tries again (milliseconds), in state `waiting`
 * @property {string | null} cause why it was lost
 * @property {string | null} next what a person can do, in state `failed`
 * @property {boolean} accessEnded whether what is shown is no longer this person's to see
 * @property {boolean} offline the browser says that it has no network
 * @property {number} reconnects sessions after the first
 */

const NO_LOSS = Object.freeze({ since: null, cause: null, next: null, accessEnded: false });

export class Connection {
  #transports;
  #cursor;
  #clock;
  #random;
  #tell;
  #choice;
  #delays;
  #state = "closed";
  #session = null;
  #candidate = null;
  #timers = new Map();
  #watchedAt = 0;
  #loss = NO_LOSS;
  #nextTry = null;
  #comeBackAt = 0;
  #retryAfter = RETRY_AFTER_MS;
  #offline = false;
  #hellos = 0;

  /**
   * @param {object} options
   * @param {import("./transports/websocket.js").Transport[]} options.transports in the order of preference
   * @param {() => string} options.cursor where to go on from, asked before each session
   * @param {(frame: object) => void} options.frame every frame of the server, `hello` first
   * @param {(status: Status) => void} options.changed after every change of the status
   * @param {import("./clock.js").Clock} [options.clock]
   * @param {() => number} [options.random]
   * @param {import("./choice.js").Memory} [options.memory]
   */
  constructor({ transports, cursor, frame, changed, clock = systemClock, random = Math.random, memory }) {
    this.#transports = new Map(transports.map((transport) => [transport.name, transport]));
    this.#cursor = cursor;
    this.#tell = { frame, changed };
    this.#clock = clock;
    this.#random = random;
    this.#choice = new Choice([...this.#transports.keys()], clock, memory);
    this.#delays = backoff({ random });
  }

  /** @returns {Status} */
  get status() {
    return {
      state: this.#state,
      transport: this.#state === "closed" ? null : this.#choice.current,
      fallback: !this.#choice.isFirst,
      failures: this.#choice.failures,
      ...this.#loss,
      nextTry: this.#nextTry,
      offline: this.#offline,
      reconnects: Math.max(0, this.#hellos - 1),
    };
  }

  /** Begins, or begins again after `close`. */
  open() {
    if (this.#state !== "closed") return;
    this.#move("open");
    this.#watch();
    this.#try();
  }

  /** Ends it until `open`: the page goes away, or its person signs out. */
  close() {
    if (this.#state === "closed") return;
    this.#drop();
    for (const name of [...this.#timers.keys()]) this.#stop(name);
    this.#move("close");
  }

  /** A person says "try again", or the browser that the network is back: now, and not after the wait. */
  retry() {
    if (this.#state !== "waiting" && this.#state !== "failed") return;
    this.#choice.forgive();
    this.#delays = backoff({ random: this.#random });
    this.#due();
  }

  /** A person wants another transport: the next one in the configured order, now. */
  useAnother() {
    if (this.#state !== "connected") return;
    this.#drop();
    this.#loss = { ...NO_LOSS, since: this.#clock.now(), cause: "Another transport was asked for" };
    this.#choice.skip();
    this.#changeOver();
  }

  /** The browser's word on the network. It is only a hint: a line that works is not dropped for it. */
  hint(online) {
    const networkChanged = this.#offline && online;
    this.#offline = !online;
    this.wake({ networkChanged });
    this.#tell.changed(this.status);
  }

  /**
   * The page may have been asleep, hidden or elsewhere: finds out at once whether the line still lives.
   *
   * @param {{networkChanged?: boolean}} [circumstances]
   */
  wake(circumstances) {
    this.#session?.probe(circumstances);
    if (this.#state === "waiting" && !this.#offline && this.#clock.now() >= this.#comeBackAt) this.retry();
  }

  /**
   * @param {object} message a client message of the wire protocol, without its id
   * @returns {boolean} whether it left
   */
  send(message) {
    return this.#session?.send(message) ?? false;
  }

  #try() {
    this.#session = this.#begin(this.#choice.current);
  }

  #begin(name) {
    return new Session({
      transport: this.#transports.get(name),
      cursor: this.#cursor(),
      clock: this.#clock,
      frame: (session, frame) => this.#frame(session, frame),
      ended: (session, ended) => this.#ended(session, ended),
    });
  }

  #frame(session, frame) {
    if (frame.v !== VERSION) return this.#lost(session, { code: OUTDATED });
    if (frame.type === "hello") this.#up(session);
    this.#heed(frame);
    this.#tell.frame(frame);
  }

  /** The server may say when to come back before it ends the session. */
  #heed({ type, event, after_ms = 0, retry_after }) {
    if (type === "system" && event === "moving") this.#comeBackAt = this.#clock.now() + after_ms;
    if (type === "error" && retry_after) this.#retryAfter = retry_after * 1000;
  }

  /** The first to say hello carries on; what it replaces is closed only now, so that no moment is without one. */
  #up(session) {
    if (session === this.#candidate) {
      this.#candidate = null;
      this.#session?.close();
    }
    this.#session = session;
    this.#hellos += 1;
    this.#loss = NO_LOSS;
    this.#choice.reached(session.transport.name);
    this.#start("stable", STABLE_MS, () => this.#stable());
    if (this.#choice.climbAt < Infinity) this.#planClimb();
    this.#move("hello");
  }

  #stable() {
    this.#choice.proved();
    this.#delays = backoff({ random: this.#random });
  }

  #planClimb() {
    this.#start("climb", this.#choice.climbAt - this.#clock.now(), () => {
      this.#candidate = this.#begin(this.#choice.better);
    });
  }

  #ended(session, ended) {
    if (session === this.#candidate) {
      this.#candidate = null;
      this.#choice.climbFailed(ended.reason);
      this.#planClimb();
    } else {
      this.#lost(session, ended);
    }
  }

  #lost(session, { code, reason, retryAfter, stalled, excused }) {
    const { back, ...why } = closing(code, reason || (session.isUp ? "Connection lost" : "The server was not reached"));
    const wasStable = session.isUp && session.age >= STABLE_MS;
    const told = code >= 4000 || this.#comeBackAt > this.#clock.now();
    this.#drop();
    this.#loss = { ...NO_LOSS, ...why, since: this.#loss.since ?? this.#clock.now() };
    if (!back) return this.#move("refused");
    if (excused) return this.#wait(0);
    const toBlame = !told && (stalled || !wasStable);
    if (toBlame && this.#choice.failed(why.cause, stalled)) return this.#changeOver();
    this.#wait(this.#delay(code, retryAfter));
  }

  #changeOver() {
    this.#move("changeover");
    this.#try();
  }

  /** The server spreads those that it moves; those that it sends away come back spread by jitter. */
  #delay(code, retryAfter = code === TOO_MANY ? this.#retryAfter : 0) {
    const moving = this.#comeBackAt - this.#clock.now();
    return moving > 0 ? moving : retryAfter + this.#delays.next().value;
  }

  #wait(ms) {
    this.#nextTry = this.#clock.now() + ms;
    this.#start("retry", ms, () => this.#due());
    this.#move("lost");
  }

  #due() {
    this.#stop("retry");
    this.#nextTry = null;
    this.#move("due");
    this.#try();
  }

  #drop() {
    for (const name of ["stable", "climb", "retry"]) this.#stop(name);
    this.#session?.close();
    this.#candidate?.close();
    this.#session = this.#candidate = null;
    this.#nextTry = null;
  }

  #watch() {
    this.#watchedAt = this.#clock.now();
    this.#start("watch", WATCH_MS, () => {
      const slept = this.#clock.now() - this.#watchedAt >= SLEPT_MS;
      this.#watch();
      if (slept) this.wake();
    });
  }

  #move(event) {
    this.#state = next(this.#state, event);
    this.#tell.changed(this.status);
  }

  #start(name, ms, run) {
    this.#stop(name);
    this.#timers.set(
      name,
      this.#clock.after(Math.max(0, ms), () => {
        this.#timers.delete(name);
        run();
      }),
    );
  }

  #stop(name) {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}
