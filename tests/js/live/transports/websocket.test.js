import assert from "node:assert/strict";
import test from "node:test";

import { websocket, withCursor } from "../../../../static/js/live/transports/websocket.js";

class FakeSocket {
  static last = null;
  OPEN = 1;
  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = url;
    FakeSocket.last = this;
  }

  send(text) {
    this.sent.push(text);
  }

  close(code) {
    this.closedWith = code;
  }
}

function open() {
  const got = { messages: [], opened: 0, ended: [] };
  const line = websocket({ url: "wss://host/ws/live/", WebSocket: FakeSocket }).open("t:e:1", {
    opened: () => (got.opened += 1),
    message: (text) => got.messages.push(text),
    ended: (ending) => got.ended.push(ending),
  });
  return { line, socket: FakeSocket.last, got };
}

test("the cursor is a parameter of the address", () => {
  assert.equal(open().socket.url, "wss://host/ws/live/?cursor=t%3Ae%3A1");
  assert.equal(withCursor("/live/?a=1", "t:e:1"), "/live/?a=1&cursor=t%3Ae%3A1");
  assert.equal(withCursor("/live/", ""), "/live/");
});

test("what the socket says is passed on", () => {
  const { socket, got } = open();
  socket.onopen();
  socket.onmessage({ data: "{}" });
  socket.onclose({ code: 4012, reason: "restart" });
  assert.deepEqual(got, { messages: ["{}"], opened: 1, ended: [{ code: 4012, reason: "restart" }] });
});

test("nothing is sent before the socket is open", () => {
  const { line, socket } = open();
  assert.equal(line.send("early"), false);
  socket.readyState = socket.OPEN;
  assert.equal(line.send("now"), true);
  assert.deepEqual(socket.sent, ["now"]);
});

test("after our own close nothing is told", () => {
  const { line, socket, got } = open();
  line.close();
  assert.equal(socket.closedWith, 1000);
  assert.equal(socket.onclose, null);
  assert.deepEqual(got.ended, []);
});
