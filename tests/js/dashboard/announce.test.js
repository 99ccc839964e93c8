import assert from "node:assert/strict";
import test from "node:test";

import { summary } from "../../../static/js/dashboard/announce.js";

test("a summary counts, and says nothing of nothing", () => {
  assert.equal(summary([true, false, true]), "2 devices came online, 1 device went offline.");
  assert.equal(summary([false]), "1 device went offline.");
  assert.equal(summary([]), "");
});
