import assert from "node:assert/strict";
import test from "node:test";

import { Feed, GATHER_MS } from "../../../static/js/live/feed.js";
import { Store } from "../../../static/js/live/store.js";
import { FakeTransport } from "../fake_transport.js";
import { ManualClock, settle } from "../manual_clock.js";

const DEVICE = "device/acme/cam-1";

/** A feed whose snapshots the test gives: `requests` are those asked for, oldest first. */
function make(cursor = "t:e:1") {
  const clock = new ManualClock();
  const transport = new FakeTransport("websocket");
  const world = { clock, transport, requests: [], refusals: [], store: new Store(cursor) };
  world.feed = new Feed({
    store: world.store,
    transports: [transport],
    fetchState: (signal) =>
      new Promise((give, refuse) => {
        signal.addEventListener("abort", () => refuse(new Error("aborted")));
        world.requests.push({ give, refuse, signal });
      }),
    refused: (error) => world.refusals.push(error),
    clock,
    random: () => 0.5,
  });
  world.feed.connection.open();
  return world;
}

function live(cursor) {
  const world = make(cursor);
  world.transport.last.hello({ topics: { t: { epoch: "e", offset: 1, recovered: true } } });
  return world;
}

const event = (offset, online, rest) => ({
  type: "event", topic: "t", epoch: "e", offset, key: DEVICE, fields: { online: [online, offset, offset] }, at: {}, ...rest,
});
const state = (offset, online) => ({
  type: "state", cursor: `t:e:${offset}`, entities: { [DEVICE]: { online: [online, offset, offset] } }, meta: {},
});
const resync = (offset, cause = "overflow") => ({ type: "system", event: "resync", topic: "t", epoch: "e", offset, cause });

test("events go to the store", () => {
  const { transport, store } = live();
  transport.last.frame(event(2, true));
  transport.last.frame(event(3, false));
  assert.equal(store.value(DEVICE, "online"), false);
  assert.equal(String(store.cursor), "t:e:3");
});

test("the next session goes on from where the store is", () => {
  const { clock, transport } = live();
  transport.last.frame(event(2, true));
  transport.last.end(1006);
  clock.advance(20_000);
  assert.equal(transport.last.cursor, "t:e:2");
});

test("a resync fetches the snapshot, puts it in place, and goes on from it", async () => {
  const { clock, transport, store, requests, feed } = live();
  transport.last.frame(event(2, true));
  transport.last.frame(resync(9));
  assert.ok(feed.status.resyncing);
  assert.deepEqual(feed.status.resyncs, { overflow: 1 });
  clock.advance(GATHER_MS);
  transport.last.frame(event(10, true));
  requests[0].give(state(9, false));
  await settle();
  assert.equal(feed.status.resyncing, false);
  assert.equal(store.value(DEVICE, "online"), true);
  assert.equal(String(store.cursor), "t:e:10");
});

test("the frames that tell of one loss are answered by one snapshot", () => {
  const { clock, transport, requests } = make();
  transport.last.hello({ topics: { t: { epoch: "f", offset: 7, recovered: false } } });
  transport.last.frame({ ...resync(7, "epoch"), epoch: "f" });
  clock.advance(GATHER_MS);
  assert.equal(requests.length, 1);
});

test("a snapshot that was asked for before another loss is not used", async () => {
  const { clock, transport, store, requests } = live();
  transport.last.frame(resync(9));
  clock.advance(GATHER_MS);
  transport.last.frame(resync(20));
  requests[0].give(state(15, false));
  clock.advance(GATHER_MS);
  await settle();
  assert.ok(requests[0].signal.aborted);
  assert.ok(store.isIncomplete);
  requests[1].give(state(20, true));
  await settle();
  assert.equal(store.value(DEVICE, "online"), true);
});

test("a snapshot that fails, or is too old, is asked for again, and the status says why", async () => {
  const { clock, transport, requests, feed } = live();
  transport.last.frame(resync(9));
  clock.advance(GATHER_MS);
  requests[0].refuse(new Error("The server answered 503"));
  await settle();
  assert.equal(feed.status.snapshotError, "The server answered 503");
  clock.advance(1000);
  requests[1].give(state(5, true));
  await settle();
  assert.ok(feed.status.resyncing);
  clock.advance(2000);
  requests[2].give(state(9, true));
  await settle();
  assert.equal(feed.status.resyncing, false);
  assert.equal(feed.status.snapshotError, null);
});

test("a state frame that the server sends by itself will do", async () => {
  const { clock, transport, requests, feed } = live();
  transport.last.frame(resync(9));
  clock.advance(GATHER_MS);
  transport.last.frame(state(9, true));
  assert.equal(feed.status.resyncing, false);
  assert.ok(requests[0].signal.aborted);
});

test("a page that was closed in the middle of a resync takes it up again", async () => {
  const { clock, transport, requests, feed } = live();
  transport.last.frame(resync(9));
  feed.connection.close();
  clock.advance(60_000);
  assert.equal(requests.length, 0);
  feed.connection.open();
  transport.last.hello({ topics: { t: { epoch: "e", offset: 9, recovered: true } } });
  clock.advance(GATHER_MS);
  requests[0].give(state(9, true));
  await settle();
  assert.equal(feed.status.resyncing, false);
});

test("an event of another life asks for a snapshot", () => {
  const { clock, transport, requests, feed } = live();
  transport.last.frame(event(1, true, { epoch: "f" }));
  clock.advance(GATHER_MS);
  assert.equal(requests.length, 1);
  assert.deepEqual(feed.status.resyncs, { epoch: 1 });
});

test("what the server says of the way behind it is in the status", () => {
  const { transport, feed } = live();
  transport.last.frame({ type: "system", event: "upstream", worker: "silent", since: 5 });
  transport.last.frame({ type: "system", event: "path", layer: "down" });
  transport.last.frame({ ...event(2), key: "link/self", fields: { state: ["cooling", 1, 1], reason: ["token expired", 1, 2] } });
  assert.deepEqual(feed.status.upstream, { worker: "silent", since: 5 });
  assert.equal(feed.status.path.layer, "down");
  assert.deepEqual(feed.status.link, { state: "cooling", reason: "token expired" });
});

test("errors go to who shows them, and unknown frames to nobody", () => {
  const { transport, refusals, feed } = live();
  transport.last.frame({ type: "error", code: "too-fast" });
  transport.last.frame({ type: "from-the-future" });
  assert.equal(refusals[0].code, "too-fast");
  assert.equal(feed.status.connection.state, "connected");
});

test("the server's time is kept beside this machine's", () => {
  const { clock, transport, feed } = make();
  transport.last.hello({ t: (clock.now() + 60_000) * 1000 });
  clock.advance(5000);
  assert.equal(feed.serverTime, clock.now() + 60_000);
});
