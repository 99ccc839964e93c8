import assert from "node:assert/strict";
import test from "node:test";

import { next, TRANSITIONS } from "../../../static/js/live/states.js";

const EVENTS = ["open", "hello", "changeover", "lost", "refused", "due", "close"];

test("every row of the table leads to a state of the table, and every other pair throws", () => {
  for (const state of Object.keys(TRANSITIONS)) {
    for (const event of EVENTS) {
      const after = TRANSITIONS[state][event];
      if (after === undefined) assert.throws(() => next(state, event), /no transition/);
      else assert.ok(next(state, event) in TRANSITIONS);
    }
  }
});

test("the table knows no other event", () => {
  const used = new Set(Object.values(TRANSITIONS).flatMap(Object.keys));
  assert.deepEqual([...used].sort(), [...EVENTS].sort());
});

test("every open state can be closed, and only opening leaves closed", () => {
  for (const state of Object.keys(TRANSITIONS).filter((name) => name !== "closed")) {
    assert.equal(next(state, "close"), "closed");
  }
  assert.deepEqual(Object.keys(TRANSITIONS.closed), ["open"]);
});

test("what was refused comes back only by a person's wish", () => {
  assert.deepEqual(TRANSITIONS.failed, { due: "reconnecting", close: "closed" });
});
