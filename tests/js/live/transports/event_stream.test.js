import assert from "node:assert/strict";
import test from "node:test";

import { eventStream } from "../../../../static/js/live/transports/event_stream.js";

function read(...pieces) {
  const messages = [];
  const take = eventStream((data) => messages.push(data));
  pieces.forEach(take);
  return messages;
}

test("an event ends with an empty line", () => {
  assert.deepEqual(read('id: 1\ndata: {"a":1}\n\ndata: {"b":2}\n\n'), ['{"a":1}', '{"b":2}']);
  assert.deepEqual(read("data: unfinished\n"), []);
});

test("several data lines are one message, and one leading space is not part of it", () => {
  assert.deepEqual(read("data:a\ndata: b\ndata:  c\n\n"), ["a\nb\n c"]);
});

test("comments and events without data are no messages", () => {
  assert.deepEqual(read(": still here\n\n", "event: ping\nid: 3\n\n", "retry: 100\n\n"), []);
});

test("the same comes out however the network cuts it, with each kind of line end", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = ["id: 1", "data: one", "", ": comment", "data: two", "data: lines", "", ""].join(end);
    for (let cut = 0; cut <= text.length; cut++) {
      assert.deepEqual(read(text.slice(0, cut), text.slice(cut), "\n"), ["one", "two\nlines"], `${JSON.stringify(end)} at ${cut}`);
    }
    assert.deepEqual(read(...text, "\n"), ["one", "two\nlines"]);
  }
});
