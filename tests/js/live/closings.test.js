import assert from "node:assert/strict";
import test from "node:test";

import { closing } from "../../../static/js/live/closings.js";

test("codes from 4000 to 4099 and the network's own come back", () => {
  for (const code of [1000, 1001, 1006, 1011, 4000, 4001, 4008, 4011, 4012, 4013, 4099]) assert.ok(closing(code).back);
});

test("codes from 4400 to 4499 do not come back, but for too many connections", () => {
  for (const code of [4400, 4401, 4403, 4426, 4450]) assert.equal(closing(code).back, false);
  assert.ok(closing(4429).back);
});

test("a refusal says what a person can do next", () => {
  assert.deepEqual(closing(4401), { back: false, cause: "Signed out", next: "Sign in again.", accessEnded: true });
  assert.equal(closing(4426).accessEnded, undefined);
  assert.equal(closing(4450, "Over quota").cause, "Over quota");
});

test("where the code says nothing, the transport's words are the cause", () => {
  assert.equal(closing(1006, "The server answered 502").cause, "The server answered 502");
});
