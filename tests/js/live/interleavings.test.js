/**
 * Whatever happens on the way, in whatever order: at the end the browser's state is the server's, and nothing
 * was applied twice. A failing seed is played again with `SEED=n node --test tests/js/live/interleavings.test.js`;
 * `RUNS=n` plays more of them.
 */

import assert from "node:assert/strict";
import test from "node:test";

import { Feed } from "../../../static/js/live/feed.js";
import { Store } from "../../../static/js/live/store.js";
import { FakeServer } from "../fake_server.js";
import { FakeTransport } from "../fake_transport.js";
import { ManualClock, settle } from "../manual_clock.js";
import { Random } from "../random.js";

const RUNS = Number(process.env.RUNS ?? 2000);
const MOST_STEPS = 200;
const KEYS = { user: ["device/a/1", "device/a/2", "device/a/3", "link/self"], broadcast: ["archive/a/1"] };
const FIELDS = ["online", "recording", "name"];

class World {
  constructor(seed) {
    this.random = new Random(seed);
    // A snapshot heals everything before it: half of the worlds have none, so that no fault hides behind one.
    this.resyncs = this.random.chance(0.5);
    this.clock = new ManualClock();
    this.server = new FakeServer(Object.keys(KEYS));
    this.copies = [structuredClone(this.server.state)];
    for (let change = 0; change < 5; change++) this.change();
    this.store = new Store(this.server.cursor);
    for (const [key, fields] of Object.entries(this.server.contents().entities)) this.store.seed(key, fields);
    this.transports = [this.transport("websocket"), this.transport("sse")];
    this.requests = [];
    this.applied = this.watchApplied();
    this.feed = new Feed({
      store: this.store,
      transports: this.transports,
      fetchState: (signal) => new Promise((give, refuse) => this.requests.push({ give, refuse, signal, state: null })),
      clock: this.clock,
      random: this.random.next,
    });
  }

  /** A line is served as soon as it opens, or blocked. */
  transport(name) {
    const transport = new FakeTransport(name);
    const { open } = transport;
    transport.open = (cursor, callbacks) => {
      const line = open(cursor, callbacks);
      const blocked = !this.calm && this.random.chance(0.15);
      this.clock.after(1, () => (blocked ? line.end(1006) : line.closed || this.server.serve(line)));
      return line;
    };
    return transport;
  }

  watchApplied() {
    const applied = new Map();
    const { store } = this;
    const apply = store.apply.bind(store);
    store.apply = (event) => {
      const outcome = apply(event);
      const id = `${event.topic}:${event.epoch}:${event.offset}`;
      if (outcome === "new") applied.set(id, (applied.get(id) ?? 0) + 1);
      return outcome;
    };
    return applied;
  }

  change() {
    const topic = this.random.pick(Object.keys(KEYS));
    const key = this.random.pick(KEYS[topic]);
    if (this.random.chance(0.25)) return this.server.remove(topic, key);
    const made = this.server.state.has(key) ? [this.random.pick(FIELDS)] : FIELDS;
    const fields = made.map((name) => [name, this.server.field(this.random.below(4), this.random.below(60))]);
    return this.server.record(topic, key, Object.fromEntries(fields), this.random.chance(0.3));
  }

  session() {
    const open = [...this.server.sessions].filter((session) => session.isOpen);
    return open.length ? this.random.pick(open) : null;
  }

  step() {
    const topic = this.random.pick(Object.keys(KEYS));
    const actions = [
      [30, () => this.change()],
      [30, () => this.session()?.take(topic, 1 + this.random.below(4))],
      [30, () => this.session()?.send(1 + this.random.below(3))],
      [15, () => this.clock.advance(this.random.pick([1, 20, 500, 5000]))],
      [4, () => this.session()?.kill()],
      [this.resyncs ? 3 : 0, () => this.session()?.startOver(topic, "overflow")],
      [2, () => this.clock.sleep(this.random.below(40_000))],
      [2, () => this.feed.connection.hint(this.random.chance(0.7))],
      [1, () => this.feed.connection.useAnother()],
      [4, () => this.feed.connection.wake()],
      [1, () => this.copies.push(structuredClone(this.server.state))],
      [this.resyncs ? 1 : 0, () => this.restore()],
      [1, () => this.hideAndShow()],
      [8, () => this.readSnapshot()],
      [8, () => this.answerSnapshot()],
    ];
    let at = this.random.below(actions.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, act] of actions) {
      if (at < weight) return act();
      at -= weight;
    }
  }

  /** The server reads the state now; the answer arrives later. A copy of the database may lag behind. */
  readSnapshot() {
    this.lagging = this.server.snapshot();
    for (const request of this.requests) request.state ??= this.lagging;
  }

  answerSnapshot() {
    const request = this.requests.shift();
    if (!request) return;
    const late = this.random.chance(0.3) ? this.lagging : null;
    const state = request.state ?? late ?? this.server.snapshot();
    if (this.random.chance(0.2)) request.refuse(new Error("The server answered 503"));
    else request.give(state);
  }

  restore() {
    this.lagging = null;
    this.requests = [];
    this.server.restore(structuredClone(this.random.pick(this.copies)));
  }

  hideAndShow() {
    this.feed.connection.close();
    for (let change = 0; change < 3; change++) this.change();
    this.feed.connection.open();
  }

  /** The network is good again, and nothing changes any more. */
  async comeToRest() {
    this.calm = true;
    this.feed.connection.hint(true);
    for (let round = 0; round < 400; round++) {
      this.clock.advance(500);
      for (const session of this.server.sessions) if (session.isOpen) session.drain();
      this.requests.splice(0).forEach(({ give }) => give(this.server.snapshot()));
      await settle();
      if (this.feed.connection.status.state === "connected" && !this.store.isIncomplete) {
        for (const session of this.server.sessions) session.drain();
        return;
      }
    }
    assert.fail("it never came to rest");
  }

  entities() {
    return Object.fromEntries(Array.from(this.store.keys(), (key) => [key, this.store.entity(key).fields]));
  }
}

async function play(seed) {
  const world = new World(seed);
  world.feed.connection.open();
  const steps = 20 + world.random.below(MOST_STEPS);
  for (let step = 0; step < steps; step++) {
    world.step();
    if (step % 3 === 0) await settle();
  }
  await world.comeToRest();
  assert.deepEqual(world.entities(), world.server.contents().entities, `seed ${seed}`);
  assert.equal(String(world.store.cursor), world.server.cursor, `seed ${seed}`);
  for (const [id, times] of world.applied) assert.equal(times, 1, `seed ${seed}: ${id}`);
  world.feed.connection.close();
  assert.equal(world.clock.pending, 0, `seed ${seed}`);
  return world;
}

test("loss, repeats, overtaking, merging, two lines at once, resyncs, restored databases: the end is right", async () => {
  const { SEED } = process.env;
  const seeds = SEED ? [Number(SEED)] : Array.from({ length: RUNS }, (_, run) => run + 1);
  let resyncs = 0;
  let reconnects = 0;
  for (const seed of seeds) {
    const { feed } = await play(seed);
    resyncs += Object.values(feed.status.resyncs).reduce((sum, count) => sum + count, 0);
    reconnects += feed.status.connection.reconnects;
  }
  assert.ok(SEED || (resyncs > RUNS / 2 && reconnects > RUNS), `only ${resyncs} resyncs, ${reconnects} reconnects`);
});
