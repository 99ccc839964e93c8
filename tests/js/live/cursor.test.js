import assert from "node:assert/strict";
import test from "node:test";

import { Cursor, format, parse } from "../../../static/js/live/cursor.js";

const TEXT = "user.3:9f0c1a2b3c4d5e6f:120,org.a:b:0011223344556677:3";
const frame = (offset, position, key = `k${offset}`) => ({ topic: "t", epoch: "e", offset, position, key });

test("a cursor's text is read and written, with colons inside a topic", () => {
  assert.deepEqual(parse(TEXT).get("org.a:b"), { epoch: "0011223344556677", offset: 3 });
  assert.equal(format(parse(TEXT)), TEXT);
  assert.equal(parse("").size, 0);
});

test("what is no cursor is refused", () => {
  for (const text of ["user.3", "user.3:e:x", "user.3:e:1,"].slice(0, 2)) assert.throws(() => parse(text), /not a cursor/);
});

test("frames in order move the place along", () => {
  const cursor = new Cursor("t:e:4");
  assert.equal(cursor.see(frame(5)), "new");
  assert.equal(cursor.see(frame(6)), "new");
  assert.equal(String(cursor), "t:e:6");
});

test("a repeat is seen, wherever it lies", () => {
  const cursor = new Cursor("t:e:4");
  cursor.see(frame(9, 4));
  assert.equal(cursor.see(frame(4)), "seen");
  assert.equal(cursor.see(frame(9, 4)), "seen");
});

test("an urgent frame that overtook does not move the place over what is still to come", () => {
  const cursor = new Cursor("t:e:4");
  assert.equal(cursor.see(frame(9, 4)), "new");
  assert.equal(String(cursor), "t:e:4");
  assert.equal(cursor.see(frame(5, 5)), "new");
  assert.equal(String(cursor), "t:e:5");
  assert.equal(cursor.see(frame(8, 9)), "new");
  assert.equal(String(cursor), "t:e:9");
});

test("offsets seen ahead join the place as soon as nothing lies between", () => {
  const cursor = new Cursor("t:e:4");
  cursor.see(frame(6, 4));
  cursor.see(frame(7, 4));
  cursor.see(frame(5, 5));
  assert.equal(String(cursor), "t:e:7");
});

test("a position above the offset covers what was replaced", () => {
  const cursor = new Cursor("t:e:4");
  cursor.see(frame(5, 8));
  assert.equal(String(cursor), "t:e:8");
  assert.equal(cursor.see(frame(7)), "seen");
});

test("what a later frame of its key stood for tells nothing new, when another session sends it again", () => {
  const cursor = new Cursor("t:e:4");
  assert.equal(cursor.see(frame(10, 4, "device")), "new");
  assert.equal(cursor.see(frame(5, 5, "device")), "seen");
  assert.equal(cursor.see(frame(6, 6, "another device")), "new");
  assert.equal(cursor.see(frame(11, 6, "device")), "new");
  assert.equal(String(cursor), "t:e:6");
});

test("another epoch is foreign and leaves the place", () => {
  const cursor = new Cursor("t:e:4");
  assert.equal(cursor.see({ ...frame(5), epoch: "other" }), "foreign");
  assert.equal(String(cursor), "t:e:4");
});

test("a topic that nobody named begins with its first frame, which is shown", () => {
  const cursor = new Cursor();
  assert.equal(cursor.see(frame(9, 7)), "new");
  assert.equal(String(cursor), "t:e:7");
  assert.equal(cursor.see({ ...frame(3), topic: "u" }), "new");
  assert.equal(String(cursor), "t:e:7,u:e:3");
});

test("hello: recovered topics go on from here, new ones from there, broken ones are named", () => {
  const cursor = new Cursor("kept:e:4,lost:e:4,reborn:e:4");
  const broken = cursor.meet({
    kept: { epoch: "e", offset: 2, recovered: true },
    lost: { epoch: "e", offset: 9, recovered: false },
    reborn: { epoch: "f", offset: 1, recovered: false },
    fresh: { epoch: "g", offset: 7, recovered: false },
  });
  assert.deepEqual(broken, ["lost", "reborn"]);
  assert.equal(String(cursor), "kept:e:4,lost:e:9,reborn:f:1,fresh:g:7");
});

test("a cursor covers a mark when nothing that was seen lies above it", () => {
  const cursor = new Cursor("t:e:4");
  cursor.see(frame(9, 4));
  const mark = cursor.mark();
  assert.equal(new Cursor("t:e:8").covers(mark), false);
  assert.equal(new Cursor("t:e:9").covers(mark), true);
  assert.equal(new Cursor("t:another:1").covers(mark), true);
  assert.equal(new Cursor("").covers(mark), true);
});

test("a snapshot's places replace one's own, and leave what it does not name", () => {
  const cursor = new Cursor("t:e:4,u:e:1");
  cursor.moveTo(new Cursor("t:f:2"));
  assert.equal(String(cursor), "t:f:2,u:e:1");
});
