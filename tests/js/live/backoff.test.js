import assert from "node:assert/strict";
import test from "node:test";

import { backoff } from "../../../static/js/live/backoff.js";

const take = (delays, count) => Array.from({ length: count }, () => delays.next().value);

test("the ceiling doubles with each try and stops at the cap", () => {
  const delays = backoff({ base: 500, cap: 20_000, random: () => 0.9999 });
  assert.deepEqual(take(delays, 8), [499, 999, 1999, 3999, 7999, 15998, 19998, 19998]);
});

test("the jitter is full: a delay may be anything below the ceiling", () => {
  assert.deepEqual(take(backoff({ random: () => 0 }), 3), [0, 0, 0]);
  assert.deepEqual(take(backoff({ base: 100, random: () => 0.5 }), 3), [50, 100, 200]);
});
