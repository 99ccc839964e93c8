import assert from "node:assert/strict";
import test from "node:test";

import { AGAIN_MS, GATHER_MS, LinkParts } from "../../../static/js/dashboard/link_parts.js";
import { ManualClock, settle } from "../manual_clock.js";

/** A page, and a server that answers as the test says: `requests` are those under way and answered, oldest first. */
function make({ shown = 1, known = 1 } = {}) {
  const clock = new ManualClock();
  const ending = new AbortController();
  const world = { clock, shown, known, requests: [], end: () => ending.abort() };
  const parts = {
    rendered: () => world.shown,
    known: () => world.known,
    renew: (signal) =>
      new Promise((give, refuse) => {
        signal.addEventListener("abort", () => refuse(new Error("aborted")));
        world.requests.push({ refuse, give: (noted) => give((world.shown = noted)) });
      }),
  };
  const linkParts = new LinkParts(parts, ending.signal, clock);
  /** The feed tells of the link's state at a version. */
  world.tell = (noted) => {
    world.known = noted;
    linkParts.follow();
  };
  world.look = () => linkParts.follow();
  return world;
}

test("a page that is as new as the feed is left as it is", () => {
  const { clock, look, requests } = make();
  look();
  clock.advance(60_000);
  assert.equal(requests.length, 0);
});

test("a page that was rendered before what the feed knows already is renewed at the first look", () => {
  const { clock, look, requests } = make({ shown: 1, known: 2 });
  look();
  clock.advance(GATHER_MS);
  assert.equal(requests.length, 1);
});

test("a burst of news is answered by one rendering", async () => {
  const { clock, tell, requests } = make();
  for (const noted of [2, 3, 4]) tell(noted);
  clock.advance(GATHER_MS);
  assert.equal(requests.length, 1);
  requests[0].give(4);
  await settle();
  clock.advance(60_000);
  assert.equal(requests.length, 1);
});

test("news without an end puts nothing off", () => {
  const { clock, tell, requests } = make();
  for (let noted = 2; noted < 12; noted++) {
    tell(noted);
    clock.advance(GATHER_MS / 5);
  }
  assert.equal(requests.length, 1);
});

test("what came while the server rendered is on the page a moment later", async () => {
  const { clock, tell, requests } = make();
  tell(2);
  clock.advance(GATHER_MS);
  tell(3);
  requests[0].give(2);
  await settle();
  clock.advance(GATHER_MS);
  assert.equal(requests.length, 2);
  requests[1].give(3);
  await settle();
  assert.equal(clock.pending, 0);
});

test("a server that does not answer is asked again, and not at once", async () => {
  const { clock, tell, requests } = make();
  tell(2);
  clock.advance(GATHER_MS);
  requests[0].refuse(new Error("The server answered 503"));
  await settle();
  clock.advance(AGAIN_MS - 1);
  assert.equal(requests.length, 1);
  clock.advance(1);
  assert.equal(requests.length, 2);
  requests[1].give(2);
  await settle();
  assert.equal(clock.pending, 0);
});

test("a server that knows less than the feed told is not asked without a pause", async () => {
  const { clock, tell, requests } = make();
  tell(3);
  clock.advance(GATHER_MS);
  requests[0].give(1);
  await settle();
  clock.advance(AGAIN_MS - 1);
  assert.equal(requests.length, 1);
  clock.advance(1);
  assert.equal(requests.length, 2);
});

test("it ends with its content", async () => {
  const { clock, tell, requests, end } = make();
  tell(2);
  clock.advance(GATHER_MS);
  end();
  await settle();
  clock.advance(60_000);
  assert.equal(requests.length, 1);
});
