import assert from "node:assert/strict";
import test from "node:test";

import { isNewer, Store } from "../../../static/js/live/store.js";

const DEVICE = "device/acme/cam-1";

function event(offset, fields, rest = {}) {
  return { type: "event", topic: "t", epoch: "e", offset, key: DEVICE, fields, at: { received: 50 + offset }, ...rest };
}

function state(offset, entities, meta = {}) {
  return { type: "state", cursor: `t:e:${offset}`, entities, meta };
}

function make() {
  const store = new Store("t:e:0");
  const changes = [];
  store.subscribe("*", ({ key, fields, created, gone }) => changes.push({ key, fields, created, gone }));
  return { store, changes };
}

test("only a newer fact overwrites: by time, then by tie, and an equal one is a duplicate", () => {
  assert.ok(isNewer(["a", 1, 1], undefined));
  assert.ok(isNewer(["a", 2, 0], ["b", 1, 9]));
  assert.ok(isNewer(["a", 1, 2], ["b", 1, 1]));
  assert.equal(isNewer(["a", 1, 1], ["a", 1, 1]), false);
  assert.equal(isNewer(["a", 1, 9], ["b", 2, 0]), false);
});

test("an event makes the entity and tells which fields took another value", () => {
  const { store, changes } = make();
  store.apply(event(1, { online: [true, 10, 1], name: ["Gate", 10, 2] }));
  assert.equal(store.value(DEVICE, "online"), true);
  store.apply(event(2, { online: [false, 20, 3], name: ["Gate", 20, 2] }));
  assert.equal(store.value(DEVICE, "online"), false);
  assert.deepEqual(changes, [
    { key: DEVICE, fields: ["online", "name"], created: true, gone: false },
    { key: DEVICE, fields: ["online"], created: false, gone: false },
  ]);
});

test("an older fact changes nothing, field by field", () => {
  const { store } = make();
  store.apply(event(1, { online: [true, 10, 1], recording: [true, 10, 1] }));
  store.apply(event(2, { online: [false, 5, 1], recording: [false, 15, 1] }));
  assert.equal(store.value(DEVICE, "online"), true);
  assert.equal(store.value(DEVICE, "recording"), false);
});

test("a repeated event is not applied, and nobody is told", () => {
  const { store, changes } = make();
  assert.equal(store.apply(event(1, { online: [true, 10, 1] })), "new");
  assert.equal(store.apply(event(1, { online: [true, 10, 1] })), "seen");
  assert.equal(changes.length, 1);
});

test("an entity that left the view is removed", () => {
  const { store, changes } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.apply(event(2, {}, { gone: true }));
  store.apply(event(3, {}, { gone: true }));
  assert.deepEqual([...store.keys()], []);
  assert.deepEqual(changes.slice(1), [{ key: DEVICE, fields: [], created: false, gone: true }]);
});

test("what the page was rendered with is known, silently, and the entries after its cursor go on top", () => {
  const { store, changes } = make();
  store.seed(DEVICE, { online: [true, 10, 1] }, { changed: 7 });
  assert.equal(changes.length, 0);
  store.apply(event(1, { online: [true, 10, 1] }));
  assert.deepEqual(changes, [{ key: DEVICE, fields: [], created: false, gone: false }]);
  assert.equal(store.entity(DEVICE).meta.changed, 7);
});

test("the same entity rendered twice on a page keeps its newest fields", () => {
  const { store } = make();
  store.seed(DEVICE, { online: [true, 10, 1] });
  store.seed(DEVICE, { online: [false, 9, 1], name: ["Gate", 1, 1] });
  assert.equal(store.value(DEVICE, "online"), true);
  assert.equal(store.value(DEVICE, "name"), "Gate");
});

test("heard moves with every event, changed only with another value", () => {
  const { store } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.apply(event(2, { online: [true, 20, 1] }));
  assert.deepEqual(store.entity(DEVICE).meta, { changed: 10, confirmed: 0, heard: 52 });
});

test("a subscriber of a key hears of that key alone, until the signal ends it", () => {
  const { store } = make();
  const heard = [];
  const ending = new AbortController();
  store.subscribe(DEVICE, (change) => heard.push(change.key), ending.signal);
  store.apply(event(1, { online: [true, 10, 1] }));
  store.apply(event(2, { online: [true, 10, 1] }, { key: "device/acme/other" }));
  ending.abort();
  store.apply(event(3, { online: [false, 20, 2] }));
  assert.deepEqual(heard, [DEVICE]);
});

test("a snapshot takes the place of everything, and tells only what differs", () => {
  const { store, changes } = make();
  store.seed("device/acme/same", { online: [true, 1, 1] });
  store.seed("device/acme/other", { online: [true, 1, 1] });
  store.seed("device/acme/left", { online: [true, 1, 1] });
  const entities = {
    "device/acme/same": { online: [true, 9, 1] },
    "device/acme/other": { online: [false, 9, 2] },
    "device/acme/new": { online: [true, 9, 1] },
  };
  assert.ok(store.replace(state(5, entities, { "device/acme/new": { changed: 1, confirmed: 2, heard: 3 } })));
  assert.deepEqual(changes, [
    { key: "device/acme/left", fields: [], created: false, gone: true },
    { key: "device/acme/other", fields: ["online"], created: false, gone: false },
    { key: "device/acme/new", fields: ["online"], created: true, gone: false },
  ]);
  assert.deepEqual(store.entity("device/acme/new").meta, { changed: 1, confirmed: 2, heard: 3 });
  assert.equal(String(store.cursor), "t:e:5");
});

test("events that arrive while the snapshot is on its way are shown at once, and go on top of it", () => {
  const { store } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.expectSnapshot();
  assert.ok(store.isIncomplete);
  store.apply(event(2, { online: [false, 20, 2] }));
  store.apply(event(3, { name: ["Gate", 30, 3] }));
  assert.equal(store.value(DEVICE, "online"), false);
  assert.ok(store.replace(state(2, { [DEVICE]: { online: [false, 20, 2] } })));
  assert.equal(store.value(DEVICE, "name"), "Gate");
  assert.equal(String(store.cursor), "t:e:3");
  assert.equal(store.isIncomplete, false);
});

test("a removal that arrives while the snapshot is on its way is not undone by it", () => {
  const { store, changes } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.expectSnapshot();
  store.apply(event(2, {}, { gone: true }));
  store.replace(state(1, { [DEVICE]: { online: [true, 10, 1] } }));
  assert.deepEqual([...store.keys()], []);
  assert.equal(changes.filter(({ created }) => created).length, 1);
});

test("a snapshot that was read before something that is known already is not used", () => {
  const { store } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.apply(event(2, { online: [false, 20, 2] }));
  store.expectSnapshot();
  assert.equal(store.replace(state(1, { [DEVICE]: { online: [true, 10, 1] } })), false);
  assert.equal(store.value(DEVICE, "online"), false);
  assert.ok(store.isIncomplete);
});

test("events of another life wait for the snapshot of that life", () => {
  const { store } = make();
  store.apply(event(1, { online: [true, 10, 1] }));
  store.expectSnapshot();
  assert.equal(store.apply(event(3, { online: [false, 5, 2] }, { epoch: "f" })), "foreign");
  assert.equal(store.value(DEVICE, "online"), true);
  store.replace({ cursor: "t:f:2", entities: { [DEVICE]: { online: [true, 4, 1] } } });
  assert.equal(store.value(DEVICE, "online"), false);
  assert.equal(String(store.cursor), "t:f:3");
});

test("what is put aside is seen and passed over, until a snapshot brings it to the front", () => {
  const store = new Store("t:e:0", (key) => store.value("view/self", "aside")?.includes(key.split("/")[1]));
  store.seed("view/self", { aside: [["acme"], 1, 1] });
  assert.equal(store.apply(event(1, { online: [true, 10, 1] })), "new");
  assert.equal(store.entity(DEVICE), undefined);
  assert.equal(String(store.cursor), "t:e:1");
  store.expectSnapshot();
  store.apply(event(2, { online: [false, 20, 2] }));
  assert.equal(store.entity(DEVICE), undefined);
  store.replace(state(1, { "view/self": { aside: [["borealis"], 2, 2] }, [DEVICE]: { online: [true, 10, 1] } }));
  assert.equal(store.value(DEVICE, "online"), false);
});
