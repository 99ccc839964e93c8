import assert from "node:assert/strict";
import test from "node:test";

import { HELLO_MS, PONG_MS, PROBE_MS, Session } from "../../../static/js/live/session.js";
import { FakeTransport } from "../fake_transport.js";
import { ManualClock } from "../manual_clock.js";

const HEARTBEAT_MS = 25_000;

function begin(name = "websocket") {
  const clock = new ManualClock();
  const transport = new FakeTransport(name);
  const frames = [];
  const ends = [];
  const session = new Session({
    transport,
    cursor: "t:e:1",
    clock,
    frame: (_, frame) => frames.push(frame),
    ended: (_, ended) => ends.push(ended),
  });
  return { clock, line: transport.last, session, frames, ends };
}

function beginUp(name) {
  const parts = begin(name);
  parts.line.hello({ heartbeat: HEARTBEAT_MS / 1000 });
  return parts;
}

const pings = (line) => line.sent.filter(({ type }) => type === "ping").length;

test("the line is opened at the cursor, and hello makes the session up", () => {
  const { line, session, frames } = begin();
  assert.equal(line.cursor, "t:e:1");
  assert.equal(session.isUp, false);
  line.hello();
  assert.equal(session.isUp, true);
  assert.equal(frames[0].type, "hello");
});

test("a line that opens and says nothing is held up on the way", () => {
  const { clock, line, ends } = begin();
  clock.advance(HELLO_MS - 1);
  assert.equal(ends.length, 0);
  clock.advance(1);
  assert.ok(ends[0].stalled);
  assert.ok(line.closed);
});

test("a ping goes out each heartbeat, and an answer keeps the session", () => {
  const { clock, line, ends } = beginUp();
  for (let beat = 1; beat <= 10; beat++) {
    clock.advance(HEARTBEAT_MS);
    assert.equal(pings(line), beat);
    line.frame({ type: "pong" });
  }
  assert.equal(ends.length, 0);
});

test("a ping without an answer ends the session as stalled", () => {
  const { clock, line, ends } = beginUp();
  clock.advance(HEARTBEAT_MS + PONG_MS - 1);
  assert.equal(ends.length, 0);
  clock.advance(2);
  assert.deepEqual(ends, [{ code: 0, reason: "A ping got no answer", stalled: true, excused: false }]);
  assert.ok(line.closed);
});

test("anything that is heard answers a ping", () => {
  const { clock, line, ends } = beginUp();
  clock.advance(HEARTBEAT_MS + 1);
  line.frame({ type: "event" });
  clock.advance(PONG_MS);
  assert.equal(ends.length, 0);
});

test("timers that come a minute late, as in a hidden page, end nothing that answers", () => {
  const { clock, line, ends } = beginUp();
  for (let minute = 0; minute < 5; minute++) {
    clock.sleep(60_000);
    line.frame({ type: "pong" });
  }
  assert.equal(ends.length, 0);
});

test("a stream is asked nothing, and lives while it is heard within the heartbeat", () => {
  const { clock, line, ends } = beginUp("sse");
  for (let beat = 0; beat < 5; beat++) {
    clock.advance(HEARTBEAT_MS);
    line.alive();
  }
  assert.equal(pings(line), 0);
  assert.equal(ends.length, 0);
  clock.advance(HEARTBEAT_MS + PONG_MS);
  assert.ok(ends[0].stalled);
});

test("a probe of a dead line ends it within the probe's time, and blames nobody", () => {
  const { clock, session, ends } = beginUp();
  session.probe();
  clock.advance(PROBE_MS + 1);
  assert.deepEqual(ends, [{ code: 0, reason: "A ping got no answer", stalled: false, excused: true }]);
});

test("a probe of a line that answers changes nothing, and the pings go on", () => {
  const { clock, line, session, ends } = beginUp();
  clock.advance(1000);
  session.probe();
  clock.advance(1);
  line.frame({ type: "pong" });
  clock.advance(PROBE_MS + HEARTBEAT_MS);
  assert.equal(ends.length, 0);
  assert.equal(pings(line), 2);
});

test("a probe gives a stream up when it should have been heard by now, or its network is gone", () => {
  const heard = beginUp("sse");
  heard.session.probe();
  assert.equal(heard.ends.length, 0);
  heard.session.probe({ networkChanged: true });
  assert.ok(heard.ends[0].excused);

  const quiet = beginUp("sse");
  quiet.clock.advance(HEARTBEAT_MS + 1);
  quiet.session.probe();
  assert.ok(quiet.ends[0].excused);
});

test("a probe before hello waits for hello", () => {
  const { clock, line, session, ends } = begin();
  session.probe({ networkChanged: true });
  clock.advance(PROBE_MS * 2);
  line.hello();
  assert.equal(ends.length, 0);
});

test("what is no frame ends the session", () => {
  for (const text of ["{", "null", "[]", '{"type":1}']) {
    const { line, ends } = beginUp();
    line.text(text);
    assert.equal(ends[0].reason, "The server sent something unreadable");
  }
});

test("messages carry ids of their own, and leave only while the session is up", () => {
  const { line, session } = begin();
  assert.equal(session.send({ type: "sync" }), false);
  line.hello();
  assert.equal(session.send({ type: "sync" }), true);
  session.send({ type: "sync" });
  const [first, second] = line.sent;
  assert.equal(first.type, "sync");
  assert.notEqual(first.id, second.id);
});

test("the end is told once, with what the server said", () => {
  const { line, ends } = beginUp();
  line.end(4012, { reason: "restart" });
  line.end(1006);
  assert.deepEqual(ends, [{ code: 4012, reason: "restart", stalled: false, excused: false }]);
});

test("after our own close nothing is told, and no timer stays", () => {
  const { clock, line, session, frames, ends } = beginUp();
  session.close();
  line.frame({ type: "event" });
  clock.advance(10 * HEARTBEAT_MS);
  assert.equal(frames.length, 1);
  assert.equal(ends.length, 0);
  assert.equal(clock.pending, 0);
});

test("a transport that cannot even be begun ends the session, and not its maker", () => {
  const clock = new ManualClock();
  const ends = [];
  const open = () => {
    throw new TypeError("WebSocket is not a constructor");
  };
  new Session({
    transport: { name: "websocket", pings: true, open },
    cursor: "",
    clock,
    frame: () => {},
    ended: (_, ended) => ends.push(ended),
  });
  assert.equal(ends.length, 0);
  clock.advance(0);
  assert.equal(ends[0].reason, "WebSocket is not a constructor");
});
