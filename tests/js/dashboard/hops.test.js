import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, hops, median, total } from "../../../static/js/dashboard/hops.js";

const AT = { source: 1_000_000, received: 1_004_000, recorded: 1_009_000, relayed: 1_010_500 };

test("a change's way is told hop by hop, to this page", () => {
  assert.deepEqual(hops(AT, 1_030_500), [
    { name: "AppSync to worker", start: 0, duration: 4 },
    { name: "Worker to database", start: 4, duration: 5 },
    { name: "Database to feed", start: 9, duration: 1.5 },
    { name: "Feed to this page", start: 10.5, duration: 20 },
  ]);
  assert.equal(total(hops(AT, 1_030_500)), 30.5);
});

test("without the source's time the way begins at the worker", () => {
  const [first] = hops({ ...AT, source: null }, 1_030_500);
  assert.deepEqual(first, { name: "Worker to database", start: 0, duration: 5 });
});

test("clocks that differ make no negative time", () => {
  const found = hops({ ...AT, source: 2_000_000 }, 1_030_500);
  assert.ok(found.every((hop) => hop.start >= 0 && hop.duration >= 0));
});

test("nothing known is no way at all", () => {
  assert.deepEqual(hops({}, 5), []);
  assert.equal(total([]), 0);
});

test("the median is the middle one", () => {
  assert.equal(median([30, 1, 2]), 2);
  assert.equal(median([]), null);
});

test("durations read in the unit that fits", () => {
  assert.deepEqual([0.44, 12.6, 2400, null].map(duration), ["0.4 ms", "13 ms", "2.4 s", "—"]);
});
