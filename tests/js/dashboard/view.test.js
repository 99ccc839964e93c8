import assert from "node:assert/strict";
import test from "node:test";

import { isAside, isOwn, VIEW } from "../../../static/js/dashboard/view.js";
import { Store } from "../../../static/js/live/store.js";

function looking(aside) {
  const store = new Store();
  store.seed(VIEW, { organization: ["acme", 1, 1], aside: [aside, 1, 1] });
  return store;
}

test("another organisation's things are put aside, and the active one's are not", () => {
  const store = looking(["borealis"]);
  for (const kind of ["device", "archive"]) assert.ok(isAside(`${kind}/borealis/1`, store));
  assert.ok(isAside("organization/borealis", store));
  for (const key of ["device/acme/borealis", "organization/acme", "device/other/1"]) assert.ok(!isAside(key, store), key);
});

test("what is one's own in every organisation is never put aside", () => {
  for (const key of ["member/borealis/sub-me", "user/borealis", "link/self", VIEW]) {
    assert.ok(!isAside(key, looking(["borealis"])), key);
  }
});

test("while nothing is known of the view, nothing is put aside", () => {
  assert.ok(!isAside("device/borealis/1", new Store()));
});

test("one's own link and view are no news", () => {
  assert.ok(isOwn("link/self") && isOwn(VIEW));
  assert.ok(!isOwn("device/acme/1"));
});
