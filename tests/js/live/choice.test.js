import assert from "node:assert/strict";
import test from "node:test";

import { Choice, CLIMB_CAP_MS, CLIMB_MS, LOYALTY, MEMORY_MS, STALL_WINDOW_MS } from "../../../static/js/live/choice.js";
import { ManualClock } from "../manual_clock.js";

const NAMES = ["websocket", "sse"];

function memoryOf(text = null) {
  return { text, read() { return this.text; }, write(written) { this.text = written; } };
}

function make(memory) {
  const clock = new ManualClock();
  return { clock, choice: new Choice(NAMES, clock, memory) };
}

function provenOn(name) {
  const parts = make();
  if (name !== NAMES[0]) parts.choice.failed("blocked");
  parts.choice.reached(name);
  parts.choice.proved();
  return parts;
}

test("a round tries every transport once, in order, and then costs a wait", () => {
  const { choice } = make();
  assert.equal(choice.current, "websocket");
  assert.equal(choice.failed("blocked"), true);
  assert.equal(choice.current, "sse");
  assert.equal(choice.failed("down"), false);
  assert.equal(choice.current, "websocket");
});

test("a proven transport keeps the favour through a few failures", () => {
  const { choice } = provenOn("websocket");
  for (let failure = 1; failure <= LOYALTY; failure++) {
    assert.equal(choice.failed("refused"), false);
    assert.equal(choice.current, "websocket");
  }
  assert.equal(choice.failed("refused"), true);
  assert.equal(choice.current, "sse");
});

test("the next round begins with what worked last", () => {
  const { choice } = provenOn("sse");
  for (let failure = 0; failure < LOYALTY; failure++) choice.failed("refused");
  assert.equal(choice.failed("refused"), true);
  assert.equal(choice.current, "websocket");
  assert.equal(choice.failed("blocked"), false);
  assert.equal(choice.current, "sse");
});

test("stalls that come often cost even a proven transport the favour", () => {
  const { clock, choice } = provenOn("websocket");
  assert.equal(choice.failed("silent", true), false);
  clock.advance(1000);
  assert.equal(choice.failed("silent", true), true);
  assert.equal(choice.current, "sse");
});

test("rare stalls are forgotten", () => {
  const { clock, choice } = provenOn("websocket");
  choice.failed("silent", true);
  choice.proved();
  clock.advance(STALL_WINDOW_MS + 1);
  assert.equal(choice.failed("silent", true), false);
});

test("why the others did not carry is kept, with the time", () => {
  const { clock, choice } = make();
  choice.failed("The server answered 502");
  assert.deepEqual(choice.failures, [{ name: "websocket", cause: "The server answered 502", at: clock.now() }]);
});

test("the first transport has nowhere to climb", () => {
  const { choice } = provenOn("websocket");
  assert.equal(choice.climbAt, Infinity);
});

test("beside a lesser one the first is tried again, more and more rarely", () => {
  const { clock, choice } = provenOn("sse");
  const waits = [];
  for (let climb = 0; climb < 9; climb++) {
    waits.push(choice.climbAt - clock.now());
    choice.climbFailed("still blocked");
  }
  assert.deepEqual(waits.slice(0, 3), [CLIMB_MS, 2 * CLIMB_MS, 4 * CLIMB_MS]);
  assert.equal(waits.at(-1), CLIMB_CAP_MS);
});

test("a transport that stalls again after a climb is climbed to less soon each time", () => {
  const { clock, choice } = provenOn("websocket");
  const waits = [];
  for (let round = 0; round < 3; round++) {
    choice.failed("silent", true);
    if (choice.current === "websocket") choice.failed("silent", true);
    choice.reached("sse");
    waits.push(choice.climbAt - clock.now());
    choice.reached("websocket");
    choice.proved();
  }
  assert.ok(waits[0] < waits[1] && waits[1] < waits[2], String(waits));
});

test("what worked is remembered for the next page, for a while", () => {
  const memory = memoryOf();
  const { clock, choice } = make(memory);
  choice.failed("blocked");
  choice.reached("sse");
  choice.proved();
  assert.equal(new Choice(NAMES, clock, memory).current, "sse");
  clock.advance(MEMORY_MS);
  assert.equal(new Choice(NAMES, clock, memory).current, "websocket");
});

test("a memory of something else is no memory", () => {
  for (const text of ["", "carrier-pigeon@1767268800000", "sse@", "nonsense"]) {
    assert.equal(make(memoryOf(text)).choice.current, "websocket");
  }
});

test("a person's wish for another goes round, and is not undone soon", () => {
  const { clock, choice } = provenOn("websocket");
  choice.skip();
  assert.equal(choice.current, "sse");
  choice.reached("sse");
  assert.equal(choice.climbAt - clock.now(), CLIMB_CAP_MS);
  choice.skip();
  assert.equal(choice.current, "websocket");
});
