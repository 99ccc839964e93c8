import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";

import { sse } from "../../../../static/js/live/transports/sse.js";

/** Opens the stream against a real HTTP server that answers with `answer`; gives what the callbacks got. */
async function open(t, answer, cursor = "t:e:1") {
  const server = createServer(answer).listen(0, "127.0.0.1");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  const got = { messages: [], alive: 0, opened: 0 };
  const ended = new Promise((resolve) => {
    const url = `http://127.0.0.1:${server.address().port}/live/sse/`;
    got.line = sse({ url }).open(cursor, {
      opened: () => (got.opened += 1),
      alive: () => (got.alive += 1),
      message: (text) => got.messages.push(text),
      ended: resolve,
    });
  });
  return { got, ended, server };
}

function stream(...pieces) {
  return (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

test("frames come out of the stream, and its end is the network's", async (t) => {
  const asked = [];
  const { got, ended } = await open(t, (request, response) => {
    asked.push(request.url, request.headers.accept);
    stream('data: {"type":"hello"}\n\n', ": heartbeat\n\n", 'data: {"name":"Café"}\n\n')(request, response);
  });
  assert.deepEqual(await ended, { code: 1006, reason: "The stream ended" });
  assert.deepEqual(asked, ["/live/sse/?cursor=t%3Ae%3A1", "text/event-stream"]);
  assert.deepEqual(got.messages, ['{"type":"hello"}', '{"name":"Café"}']);
  assert.equal(got.opened, 1);
  assert.ok(got.alive >= 1);
});

test("a character that is cut in two comes out whole", async (t) => {
  const bytes = Buffer.from("data: é\n\n");
  const { got, ended } = await open(t, async (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(bytes.subarray(0, 7));
    setImmediate(() => response.end(bytes.subarray(7)));
  });
  await ended;
  assert.deepEqual(got.messages, ["é"]);
});

test("the server's own refusals become its close codes, with the cause and the wait", async (t) => {
  for (const [status, code] of [[401, 4401], [403, 4403], [429, 4429], [400, 4400]]) {
    const { ended } = await open(t, (request, response) => {
      response.writeHead(status, { "Content-Type": "application/json", "Retry-After": "7" });
      response.end(JSON.stringify({ type: "error", cause: "because" }));
    });
    assert.deepEqual(await ended, { code, reason: "because", retryAfter: 7000 });
  }
});

test("a refusal by something in between is a failure of the way, and not the end", async (t) => {
  for (const status of [200, 401, 403, 502]) {
    const { got, ended } = await open(t, (request, response) => {
      response.writeHead(status, { "Content-Type": "text/html" });
      response.end("<h1>Corporate proxy</h1>");
    });
    assert.deepEqual(await ended, { code: 1006, reason: `The server answered ${status}` });
    assert.equal(got.opened, 0);
  }
});

test("nobody there is a failure of the way", async () => {
  const ended = await new Promise((resolve) => {
    sse({ url: "http://127.0.0.1:9/live/sse/" }).open("", { ended: resolve });
  });
  assert.equal(ended.code, 1006);
});

test("after our own close nothing is told, and the server sees the end", async (t) => {
  let sawEnd;
  const seen = new Promise((resolve) => (sawEnd = resolve));
  const { got, ended } = await open(t, (request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: 1\n\n");
    response.on("close", sawEnd);
  });
  ended.then(() => assert.fail("told of its end"));
  while (!got.messages.length) await new Promise(setImmediate);
  got.line.close();
  await seen;
  assert.equal(got.line.send("{}"), false);
});
