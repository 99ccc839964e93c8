import assert from "node:assert/strict";
import test from "node:test";

import { count, itemsOf, matches, order } from "../../../static/js/dashboard/fleet.js";
import { Store } from "../../../static/js/live/store.js";

function fleet() {
  const store = new Store();
  const add = (id, values, meta) => {
    const fields = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value, 1, 1]]));
    store.seed(`device/acme/${id}`, fields, meta);
  };
  add("a", { name: "Gate 10", online: true, recording: "Recording", siteId: "north", fwUpdateState: "Idle" }, { changed: 3 });
  add("b", { name: "Gate 9", online: false, recording: false, siteId: "south", fwUpdateState: "Failed" }, { changed: 9 });
  add("c", { name: "Arch", online: true, recording: true, siteId: "north", fwUpdateState: "Rebooting", model: "FX-10" }, { changed: 5 });
  add("d", {});
  store.seed("archive/acme/x", { state: ["Ready", 1, 1] });
  return itemsOf(store, "device");
}

const ids = (items) => items.map(({ id }) => id).join("");
const wanted = (filter) => ids(fleet().filter((item) => matches(item, filter)));

test("devices are counted by what they are; an unknown presence is neither", () => {
  assert.deepEqual(count(fleet()), { devices: 4, online: 2, offline: 1, recording: 2, updating: 1, failed: 1 });
});

test("filters narrow together, and one that is not offered filters nothing", () => {
  assert.equal(wanted({}), "abcd");
  assert.equal(wanted({ status: "online" }), "ac");
  assert.equal(wanted({ status: "online", site: "north", q: "arch" }), "c");
  assert.equal(wanted({ status: "purple" }), "abcd");
});

test("the search looks at name, id, model and site, in any case", () => {
  assert.equal(wanted({ q: "gAtE" }), "ab");
  assert.equal(wanted({ q: "fx-10" }), "c");
  assert.equal(wanted({ q: " south " }), "b");
  assert.equal(wanted({ q: "d" }), "d");
  assert.ok(matches(fleet()[0], { q: "hall" }, "Entrance hall"));
});

test("a device without a name goes by its id", () => {
  assert.equal(fleet()[3].name, "d");
});

test("names are sorted as people expect, numbers by value", () => {
  assert.equal(ids(fleet().sort(order({}))), "cdba");
});

test("the other orders fall back on the name", () => {
  assert.equal(ids(fleet().sort(order({ sort: "changed" }))), "bcad");
  assert.equal(ids(fleet().sort(order({ sort: "online" }))), "bcda");
  assert.equal(ids(fleet().sort(order({ sort: "site" }))), "dcab");
});
