/** A transport whose network is the test: lines are recorded, and do what they are told. */
export class FakeTransport {
  lines = [];

  constructor(name, { pings = name === "websocket" } = {}) {
    this.name = name;
    this.pings = pings;
  }

  open = (cursor, callbacks) => {
    const line = new FakeLine(cursor, callbacks);
    this.lines.push(line);
    return line;
  };

  get last() {
    return this.lines.at(-1);
  }
}

class FakeLine {
  sent = [];
  closed = false;
  #callbacks;

  constructor(cursor, callbacks) {
    this.cursor = cursor;
    this.#callbacks = callbacks;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
    return true;
  }

  close() {
    this.closed = true;
  }

  /** The server sends a frame. */
  frame(frame) {
    if (!this.closed) this.#callbacks.message(JSON.stringify({ v: 1, ...frame }));
  }

  text(text) {
    if (!this.closed) this.#callbacks.message(text);
  }

  hello({ topics = {}, heartbeat = 25, ...rest } = {}) {
    this.frame({ type: "hello", session: "s", t: 0, topics, heartbeat, ...rest });
  }

  alive() {
    if (!this.closed) this.#callbacks.alive();
  }

  /** The network or the server ends it. */
  end(code = 1006, rest = {}) {
    if (this.closed) return;
    this.closed = true;
    this.#callbacks.ended({ code, reason: "", ...rest });
  }
}
