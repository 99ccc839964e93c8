import assert from "node:assert/strict";
import test from "node:test";

import { CLIMB_MS, LOYALTY } from "../../../static/js/live/choice.js";
import { Connection, STABLE_MS, WATCH_MS } from "../../../static/js/live/connection.js";
import { HELLO_MS, PONG_MS, PROBE_MS } from "../../../static/js/live/session.js";
import { FakeTransport } from "../fake_transport.js";
import { ManualClock } from "../manual_clock.js";

const HEARTBEAT_MS = 25_000;

/** A connection over fakes; `random` at its middle makes the first delay 250 ms. */
function make({ random = () => 0.5, names = ["websocket", "sse"] } = {}) {
  const clock = new ManualClock();
  const transports = Object.fromEntries(names.map((name) => [name, new FakeTransport(name)]));
  const world = { clock, ws: transports.websocket, sse: transports.sse, cursor: "t:e:1", frames: [], states: [] };
  world.connection = new Connection({
    transports: Object.values(transports),
    cursor: () => world.cursor,
    frame: (frame) => world.frames.push(frame),
    changed: ({ state }) => state !== world.states.at(-1) && world.states.push(state),
    clock,
    random,
  });
  return world;
}

function connected(options) {
  const world = make(options);
  world.connection.open();
  world.ws.last.hello();
  return world;
}

function proven(options) {
  const world = connected(options);
  world.clock.advance(STABLE_MS);
  return world;
}

const state = ({ connection }) => connection.status.state;

test("closed → connecting → connected", () => {
  const world = make();
  assert.equal(state(world), "closed");
  world.connection.open();
  assert.equal(state(world), "connecting");
  world.ws.last.hello();
  assert.equal(state(world), "connected");
  assert.equal(world.connection.status.transport, "websocket");
  assert.equal(world.connection.status.since, null);
});

test("connected → waiting → reconnecting → connected, from the cursor of that moment", () => {
  const world = proven();
  world.ws.last.end(1006);
  assert.equal(state(world), "waiting");
  world.cursor = "t:e:9";
  world.clock.advance(250);
  assert.equal(state(world), "reconnecting");
  assert.equal(world.ws.last.cursor, "t:e:9");
  world.ws.last.hello();
  assert.equal(state(world), "connected");
  assert.equal(world.connection.status.reconnects, 1);
  assert.deepEqual(world.states, ["connecting", "connected", "waiting", "reconnecting", "connected"]);
});

test("while it waits, it says since when, why, and when it tries again", () => {
  const world = proven();
  world.ws.last.end(1006, { reason: "gone" });
  const { since, cause, nextTry } = world.connection.status;
  assert.deepEqual([since, cause, nextTry], [world.clock.now(), "gone", world.clock.now() + 250]);
  world.clock.advance(250);
  world.ws.last.end(1006, { reason: "still gone" });
  assert.equal(world.connection.status.since, since);
  assert.equal(world.connection.status.cause, "still gone");
});

test("where nobody gave a reason, it says whether the server was reached at all", () => {
  const world = make({ names: ["websocket"] });
  world.connection.open();
  world.ws.last.end(1006);
  assert.equal(world.connection.status.cause, "The server was not reached");
  world.clock.advance(250);
  world.ws.last.hello();
  world.ws.last.end(1006);
  assert.equal(world.connection.status.cause, "Connection lost");
});

test("delays grow with failures, and a session that lasted ends that", () => {
  const world = proven({ names: ["websocket"] });
  const delays = [];
  for (let failure = 0; failure < 4; failure++) {
    world.ws.last.end(1006);
    delays.push(world.connection.status.nextTry - world.clock.now());
    world.clock.advance(delays.at(-1));
  }
  assert.deepEqual(delays, [250, 500, 1000, 2000]);
  world.ws.last.hello();
  world.clock.advance(STABLE_MS);
  world.ws.last.end(1006);
  assert.equal(world.connection.status.nextTry - world.clock.now(), 250);
});

test("a session that dies young does not end the backoff", () => {
  const world = connected({ names: ["websocket"] });
  world.ws.last.end(1006);
  world.clock.advance(250);
  world.ws.last.hello();
  world.ws.last.end(1006);
  assert.equal(world.connection.status.nextTry - world.clock.now(), 500);
});

test("hours of outage, then the server is back: connected within the longest delay", () => {
  const world = proven();
  const refuse = (transport) => {
    const { open } = transport;
    transport.open = (cursor, callbacks) => {
      const line = open(cursor, callbacks);
      world.clock.after(5, () => line.end(1006));
      return line;
    };
    return () => (transport.open = open);
  };
  const restore = [refuse(world.ws), refuse(world.sse)];
  world.ws.last.end(1006);
  world.clock.advance(6 * 3600_000);
  assert.ok(world.ws.lines.length > 500, String(world.ws.lines.length));
  restore.forEach((back) => back());
  world.clock.advance(20_010);
  const line = [world.ws.last, world.sse.last].find(({ closed }) => !closed);
  line.hello();
  assert.equal(state(world), "connected");
});

test("a refusal ends it, says what to do, and only a person's wish tries again", () => {
  for (const code of [4400, 4401, 4403]) {
    const world = connected();
    world.ws.last.end(code);
    assert.equal(state(world), "failed");
    assert.ok(world.connection.status.cause);
    assert.ok(world.connection.status.next);
    world.clock.advance(3600_000);
    assert.equal(world.ws.lines.length, 1);
    world.connection.wake();
    assert.equal(state(world), "failed");
    world.connection.retry();
    assert.equal(state(world), "reconnecting");
  }
});

test("a refusal of the first try fails too", () => {
  const world = make();
  world.connection.open();
  world.ws.last.end(4401);
  assert.equal(state(world), "failed");
});

test("another version of the wire protocol asks for a reload", () => {
  const world = make();
  world.connection.open();
  world.ws.last.hello({ v: 2 });
  assert.equal(state(world), "failed");
  assert.equal(world.connection.status.next, "Reload the page.");
  assert.ok(world.ws.last.closed);
});

test("too many connections: it comes back after the time that the server named", () => {
  const world = proven();
  world.ws.last.frame({ type: "error", code: "too-many-connections", retry_after: 12 });
  world.ws.last.end(4429);
  assert.equal(world.connection.status.nextTry - world.clock.now(), 12_250);
  assert.equal(world.connection.status.cause, "Too many connections");
});

test("a server that moves says when to come back, and blames no transport", () => {
  const world = connected();
  world.ws.last.frame({ type: "system", event: "moving", after_ms: 3000 });
  world.clock.advance(1000);
  world.ws.last.end(4012);
  assert.equal(world.connection.status.nextTry - world.clock.now(), 2000);
  assert.deepEqual(world.connection.status.failures, []);
  world.clock.advance(2000);
  assert.equal(state(world), "reconnecting");
  assert.equal(world.ws.lines.length, 2);
});

test("a WebSocket that is blocked: the next transport at once, from the same cursor", () => {
  const world = make();
  world.connection.open();
  world.ws.last.end(1006, { reason: "blocked" });
  assert.equal(state(world), "connecting");
  assert.equal(world.sse.last.cursor, "t:e:1");
  world.sse.last.hello();
  const { transport, fallback, failures } = world.connection.status;
  assert.equal(transport, "sse");
  assert.ok(fallback);
  assert.deepEqual(failures.map(({ name, cause }) => [name, cause]), [["websocket", "blocked"]]);
});

test("a WebSocket that opens and is held up on the way: the next transport", () => {
  const world = make();
  world.connection.open();
  world.clock.advance(HELLO_MS);
  assert.ok(world.ws.last.closed);
  assert.equal(world.sse.lines.length, 1);
});

test("a WebSocket that stalls again and again: the next transport", () => {
  const world = proven();
  world.clock.advance(HEARTBEAT_MS + PONG_MS - STABLE_MS);
  world.clock.advance(250);
  world.ws.last.hello();
  world.clock.advance(HEARTBEAT_MS + PONG_MS);
  assert.equal(world.sse.lines.length, 1);
  assert.equal(state(world), "reconnecting");
});

test("a proven WebSocket is not left for a server that restarts", () => {
  const world = proven();
  for (let failure = 0; failure < LOYALTY; failure++) {
    world.ws.last.end(1006);
    world.clock.advance(250 * 2 ** failure);
  }
  assert.equal(world.ws.lines.length, 1 + LOYALTY);
  assert.equal(world.sse.lines.length, 0);
});

test("over a lesser transport it climbs back, and no moment is without a line", () => {
  const world = make();
  world.connection.open();
  world.ws.last.end(1006);
  world.sse.last.hello();
  const stream = world.sse.last;
  world.cursor = "t:e:5";
  world.clock.advance(CLIMB_MS);
  assert.equal(world.ws.lines.length, 2);
  assert.equal(world.ws.last.cursor, "t:e:5");
  assert.equal(stream.closed, false);
  world.ws.last.hello();
  assert.ok(stream.closed);
  assert.equal(state(world), "connected");
  assert.equal(world.connection.status.transport, "websocket");
  assert.deepEqual(world.states, ["connecting", "connected"]);
});

test("a climb in vain leaves the working line alone, and the next one comes later", () => {
  const world = make();
  world.connection.open();
  world.ws.last.end(1006);
  world.sse.last.hello();
  world.clock.advance(CLIMB_MS);
  world.ws.last.end(1006);
  assert.equal(state(world), "connected");
  assert.equal(world.sse.last.closed, false);
  world.clock.advance(CLIMB_MS);
  assert.equal(world.ws.lines.length, 2);
  world.clock.advance(CLIMB_MS);
  assert.equal(world.ws.lines.length, 3);
});

test("a climb that hangs when the working line dies is given up with it", () => {
  const world = make();
  world.connection.open();
  world.ws.last.end(1006);
  world.sse.last.hello();
  world.clock.advance(CLIMB_MS);
  const candidate = world.ws.last;
  world.sse.last.end(1006);
  assert.ok(candidate.closed);
});

test("after sleep a dead line is found within about a second, and replaced at once", () => {
  const world = proven();
  world.clock.sleep(3600_000);
  world.clock.advance(PROBE_MS + WATCH_MS);
  assert.equal(world.ws.lines.length, 2);
  assert.deepEqual(world.connection.status.failures, []);
});

test("after sleep a line that still lives is kept", () => {
  const world = proven();
  world.clock.sleep(20_000);
  world.ws.last.frame({ type: "pong" });
  world.clock.advance(PROBE_MS);
  assert.equal(world.ws.lines.length, 1);
});

test("a woken page does not wait its backoff out", () => {
  const world = proven({ random: () => 0.99 });
  world.ws.last.end(1006);
  world.connection.wake();
  assert.equal(state(world), "reconnecting");
});

test("a woken page waits for the time that a moving server named", () => {
  const world = connected();
  world.ws.last.frame({ type: "system", event: "moving", after_ms: 3000 });
  world.ws.last.end(4012);
  world.connection.wake();
  assert.equal(state(world), "waiting");
});

test("the browser's offline is a hint: a line that answers is kept", () => {
  const world = proven();
  world.connection.hint(false);
  assert.ok(world.connection.status.offline);
  world.ws.last.frame({ type: "pong" });
  world.clock.advance(PROBE_MS);
  assert.equal(state(world), "connected");
});

test("offline is noticed at once when it is true, and online brings it back at once", () => {
  const world = proven({ random: () => 0.99 });
  world.connection.hint(false);
  world.clock.advance(PROBE_MS);
  assert.notEqual(state(world), "connected");
  world.ws.last.end(1006);
  assert.equal(state(world), "waiting");
  world.connection.hint(true);
  assert.equal(state(world), "reconnecting");
});

test("a stream does not outlive a change of network", () => {
  const world = make({ names: ["sse"] });
  world.connection.open();
  world.sse.last.hello();
  world.clock.advance(STABLE_MS);
  world.connection.hint(false);
  world.connection.hint(true);
  world.clock.advance(0);
  assert.equal(world.sse.lines.length, 2);
});

test("a person who wants another transport gets it, from the same cursor", () => {
  const world = proven();
  world.connection.useAnother();
  assert.ok(world.ws.last.closed);
  world.sse.last.hello();
  world.clock.advance(STABLE_MS);
  assert.equal(world.connection.status.transport, "sse");
  world.sse.last.end(1006);
  world.clock.advance(1000);
  assert.equal(world.sse.lines.length, 2);
});

test("closing ends everything, and opening begins again", () => {
  const world = proven();
  world.connection.close();
  assert.equal(state(world), "closed");
  assert.ok(world.ws.last.closed);
  assert.equal(world.clock.pending, 0);
  world.connection.close();
  world.connection.open();
  world.ws.last.hello();
  assert.equal(state(world), "connected");
});

test("what a dead session still says is not heard", () => {
  const world = proven();
  const old = world.ws.last;
  old.end(1006);
  world.clock.advance(250);
  world.ws.last.hello();
  const heard = world.frames.length;
  old.frame({ type: "event" });
  assert.equal(world.frames.length, heard);
});

test("messages go over the session that is up, and are refused without one", () => {
  const world = make();
  assert.equal(world.connection.send({ type: "visibility", hidden: true }), false);
  world.connection.open();
  world.ws.last.hello();
  assert.equal(world.connection.send({ type: "visibility", hidden: true }), true);
  assert.equal(world.ws.last.sent[0].type, "visibility");
});
