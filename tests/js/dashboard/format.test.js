import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as format from "../../../static/js/dashboard/format.js";

const SHARED = JSON.parse(readFileSync(new URL("../../formats.json", import.meta.url), "utf8"));

test("every value reads as on the server's pages", () => {
  assert.ok(SHARED.length > 10);
  for (const { format: name, value, text } of SHARED) assert.equal(format.text(value, name), text, `${name} ${JSON.stringify(value)}`);
});

test("words that nobody told us of stay readable", () => {
  assert.equal(format.words("NoticePeriod"), "Notice period");
  assert.equal(format.words("fw_updateState"), "Fw update state");
  assert.equal(format.words("--"), "—");
});

test("fields have a heading, known or not", () => {
  assert.equal(format.label("fwUpdateState"), "Firmware");
  assert.equal(format.label("batteryLevel"), "Battery level");
  assert.equal(format.shownAs(false, "online"), "Offline");
  assert.equal(format.shownAs({ a: 1, b: 2 }, "AIControlSetting"), "2 settings");
});

test("recording is a flag or a word", () => {
  for (const value of [true, "Recording", "RECORDING"]) assert.ok(format.isRecording(value));
  for (const value of [false, null, "Paused"]) assert.equal(format.isRecording(value), false);
});

test("a time of today is the time alone, another has its day, and in full it has its zone", () => {
  const now = new Date(2026, 10, 21, 14, 2, 31);
  assert.equal(format.shortTime(now, now), "14:02:31");
  assert.match(format.shortTime(new Date(2026, 10, 20, 9, 5), now), /^20 Nov,? 09:05$/);
  assert.ok(format.fullTime(now).includes(format.zone(now)));
  assert.equal(format.clockTime(now.getTime()), "14:02");
});
