import assert from "node:assert/strict";
import test from "node:test";

import { freshness, LABELS } from "../../../static/js/live/freshness.js";
import { words } from "../../../static/js/live/status.js";

const NOW = Date.UTC(2026, 0, 1, 14, 2, 30);
const SINCE = Date.UTC(2026, 0, 1, 14, 2);
const clock = { now: NOW, time: (ms) => new Date(ms).toISOString().slice(11, 16) };

function status({ connection = {}, ...rest } = {}) {
  return {
    connection: {
      state: "connected", transport: "websocket", fallback: false, failures: [], since: null, nextTry: null,
      cause: null, next: null, offline: false, ...connection,
    },
    upstream: { worker: "alive", since: 0 },
    path: null,
    link: { state: "open", gap: null },
    resyncing: false,
    snapshotError: null,
    ...rest,
  };
}

const lost = (connection) => status({ connection: { state: "waiting", since: NOW - 2000, cause: "gone", ...connection } });

const cases = [
  ["Live", "live", "current", status()],
  ["Live", "live", "current", status({ link: {}, upstream: null })],
  ["Live over SSE", "live", "current", status({ connection: { transport: "sse", fallback: true } })],
  ["Connecting", "busy", "browser-offline", status({ connection: { state: "connecting" } })],
  ["Reconnecting in 4 s", "warn", "browser-offline", lost({ nextTry: NOW + 3400 })],
  ["Reconnecting", "warn", "browser-offline", lost({ state: "reconnecting" })],
  ["Offline since 14:02", "down", "browser-offline", lost({ since: SINCE, nextTry: NOW + 3400 })],
  ["Offline since 14:02", "down", "browser-offline", lost({ offline: true })],
  ["Signed out", "down", "browser-offline", lost({ state: "failed", cause: "Signed out", next: "Sign in again." })],
  ["Not live", "down", "browser-offline", status({ connection: { state: "closed" } })],
  ["Catching up", "busy", "catching-up", status({ resyncing: true })],
  ["Catching up", "busy", "catching-up", status({ link: { state: "open", gap: { since: SINCE * 1000, cause: "drop" } } })],
  ["Partly live", "warn", "partly-live", status({ link: { state: "open", reason: "refused: roleChanged", gap: { since: SINCE * 1000, cause: "refused" } } })],
  ["Live", "live", "current", status({ link: { state: "open", reason: "the issuer refuses a token", gap: null } })],
  ["Upstream down: token expired", "warn", "upstream-down", status({ link: { state: "cooling", reason: "token expired: 401 from the issuer", since: SINCE * 1000 } })],
  ["Upstream down", "warn", "upstream-down", status({ link: { state: "connecting", reason: "" } })],
  ["Nobody was watching; resuming", "busy", "nobody-watching", status({ link: { state: "suspended" } })],
  ["Worker silent since 14:02", "warn", "worker-silent", status({ upstream: { worker: "silent", since: SINCE * 1000 } })],
];

for (const [index, [text, tone, fresh, given]] of cases.entries()) {
  test(`case ${index}: the pill says "${text}" (${tone}), and the rows "${LABELS[fresh]}"`, () => {
    const said = words(given, clock);
    assert.equal(said.text, text);
    assert.equal(said.tone, tone);
    assert.equal(freshness(given), fresh);
  });
}

test("the nearest broken hop is named first", () => {
  const all = { upstream: { worker: "silent", since: 0 }, link: { state: "cooling" }, resyncing: true };
  assert.equal(freshness(status({ ...all, connection: { state: "waiting", since: NOW } })), "browser-offline");
  assert.equal(freshness(status(all)), "worker-silent");
  assert.equal(freshness(status({ ...all, upstream: null })), "upstream-down");
});

test("the longer story has the cause and the next step", () => {
  assert.match(words(lost({ nextTry: NOW + 1000 }), clock).detail, /gone\./);
  assert.equal(words(lost({ state: "failed", cause: "Signed out", next: "Sign in again." }), clock).detail, "Sign in again.");
  assert.match(words(lost({ since: SINCE, nextTry: NOW + 3400 }), clock).detail, /Reconnecting in 4 s/);
  assert.match(words(status({ resyncing: true, snapshotError: "The server answered 503" }), clock).detail, /503/);
  const partly = { state: "open", reason: "refused: roleChanged", gap: { since: SINCE * 1000, cause: "refused" } };
  assert.match(words(status({ link: partly }), clock).detail, /refused: roleChanged\. Since 14:02 /);
  const down = { state: "cooling", reason: "token expired: 401 from the issuer", since: SINCE * 1000 };
  assert.match(words(status({ link: down }), clock).detail, /401 from the issuer\. Since 14:02\./);
  assert.match(words(status({ path: { layer: "down" } }), clock).detail, /message layer is down/);
  const failures = [{ name: "websocket", cause: "blocked", at: NOW }];
  const overSse = status({ connection: { transport: "sse", fallback: true, failures } });
  assert.match(words(overSse, clock).detail, /WebSocket did not work: blocked\./);
});

test("to try again is offered exactly while nothing is under way", () => {
  for (const state of ["waiting", "failed"]) assert.ok(words(lost({ state }), clock).canRetry);
  for (const state of ["reconnecting", "connected", "connecting"]) assert.equal(words(lost({ state }), clock).canRetry, false);
});
