/**
 * One life of one line to the server: it is opened, says hello, lives while it is heard, and ends once. It has
 * no wish to come back; that is the connection's.
 */

/** A line that is up but silent for so long before `hello` is held up by something on the way. */
export const HELLO_MS = 8_000;

/** How long an answer to a ping may take. Mobile networks need seconds to wake their radio. */
export const PONG_MS = 8_000;

/** As that, when the page has just woken: a person is looking, and a needless reconnect costs little. */
export const PROBE_MS = 1_500;

/** Used when `hello` names none. */
const DEFAULT_HEARTBEAT_S = 25;

/**
 * @typedef {object} Ended
 * @property {number} code as in `closings.js`; 0 when it was not the line that ended it
 * @property {string} [reason]
 * @property {number} [retryAfter] milliseconds
 * @property {boolean} stalled it was up, and nothing came any more
 * @property {boolean} excused the page itself was away, so the transport is not to blame
 */

export class Session {
  #clock;
  #tell;
  #line;
  #cancel = () => {};
  #openedAt;
  #heardAt;
  #pingedAt = null;
  #unanswered = false;
  #probing = false;
  #heartbeat = null;
  #ids = 0;

  /**
   * @param {object} options
   * @param {import("./transports/websocket.js").Transport} options.transport
   * @param {string} options.cursor where to go on from
   * @param {import("./clock.js").Clock} options.clock
   * @param {(session: Session, frame: object) => void} options.frame every frame, `hello` first
   * @param {(session: Session, ended: Ended) => void} options.ended once; not after our own `close`
   */
  constructor({ transport, cursor, clock, frame, ended }) {
    this.transport = transport;
    this.#clock = clock;
    this.#tell = { frame, ended };
    this.#openedAt = this.#heardAt = clock.now();
    this.#arm(HELLO_MS);
    this.#line = this.#open(cursor);
  }

  /** @returns {number} milliseconds since the line was asked for */
  get age() {
    return this.#clock.now() - this.#openedAt;
  }

  /** Whether the server has said hello. */
  get isUp() {
    return this.#heartbeat !== null;
  }

  /**
   * @param {object} message a client message without its id
   * @returns {boolean} whether it left
   */
  send(message) {
    this.#ids += 1;
    return this.isUp && this.#line.send(JSON.stringify({ id: String(this.#ids), ...message }));
  }

  /**
   * Asks whether the line still lives, and ends the session soon if not. A stream cannot be asked: it is
   * given up if it should have been heard by now, or if it came over a network that is gone.
   *
   * @param {{networkChanged?: boolean}} [circumstances]
   */
  probe({ networkChanged = false } = {}) {
    if (!this.isUp || this.#probing) return;
    if (this.transport.pings) {
      this.#ping(PROBE_MS);
      this.#probing = true;
    } else if (networkChanged || this.#quiet > this.#heartbeat) {
      this.#end({ code: 0, reason: "The page was away", excused: true });
    }
  }

  close() {
    this.#cancel();
    this.#tell = null;
    this.#line.close();
  }

  #open(cursor) {
    try {
      return this.transport.open(cursor, {
        opened: () => this.#heard(),
        alive: () => this.#heard(),
        message: (text) => this.#message(text),
        ended: (ending) => this.#end(ending),
      });
    } catch (error) {
      this.#arm(0, () => this.#end({ code: 0, reason: error.message }));
      return NO_LINE;
    }
  }

  #message(text) {
    this.#heard();
    const frame = parsed(text);
    if (frame === null) {
      this.#end({ code: 0, reason: "The server sent something unreadable" });
      return;
    }
    if (frame.type === "hello") this.#begin(frame);
    this.#tell?.frame(this, frame);
  }

  #begin({ heartbeat = DEFAULT_HEARTBEAT_S }) {
    this.#heartbeat = heartbeat * 1000;
    this.#rest(this.#heartbeat);
  }

  #heard() {
    this.#heardAt = this.#clock.now();
    this.#unanswered = false;
  }

  get #quiet() {
    return this.#clock.now() - this.#heardAt;
  }

  /** Timers of a page in the background come late: what counts is what was heard, not when this runs. */
  #check() {
    if (!this.isUp) this.#stalled("The line opened, and the server was not heard");
    else if (this.transport.pings) this.#checkPing();
    else this.#checkStream();
  }

  #checkPing() {
    if (this.#pingedAt === null) this.#ping(PONG_MS);
    else if (this.#unanswered) this.#stalled("A ping got no answer");
    else this.#rest(this.#pingedAt + this.#heartbeat - this.#clock.now());
  }

  /** A stream cannot be asked; the server writes at least a comment each heartbeat. */
  #checkStream() {
    const patience = this.#heartbeat + PONG_MS - this.#quiet;
    if (patience <= 0) this.#stalled("Nothing was heard");
    else this.#rest(patience);
  }

  #ping(patience) {
    this.#pingedAt = this.#clock.now();
    this.#unanswered = true;
    this.send({ type: "ping" });
    this.#arm(patience);
  }

  #rest(ms) {
    this.#pingedAt = null;
    this.#probing = false;
    this.#arm(Math.max(0, ms));
  }

  #stalled(reason) {
    this.#end({ code: 0, reason, stalled: !this.#probing, excused: this.#probing });
  }

  #end(ended) {
    const tell = this.#tell;
    this.close();
    tell?.ended(this, { stalled: false, excused: false, ...ended });
  }

  #arm(ms, run = () => this.#check()) {
    this.#cancel();
    this.#cancel = this.#clock.after(ms, run);
  }
}

/** Stands in where a line could not even be begun: no WebSocket here, or an address that is not allowed. */
const NO_LINE = Object.freeze({ send: () => false, close: () => {} });

/** @returns {object | null} */
function parsed(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
