/** Who may know whom in the browser: live has no page, dashboard has no transport, nothing is parsed as HTML. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../static/js");

/** The compositions: each entry of a page may know everything. */
const ENTRIES = new Set(["dashboard/page.js"]);

const modules = readdirSync(ROOT, { recursive: true })
  .filter((path) => path.endsWith(".js"))
  .map((path) => {
    const source = readFileSync(join(ROOT, path), "utf8");
    const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    const imports = [...code.matchAll(/^import .*?from "(.+?)";$/gms)].map(([, from]) => from);
    return { path, code, imports: imports.map((from) => ({ from, to: relative(ROOT, resolve(ROOT, dirname(path), from)) })) };
  });

const inRoom = (room) => modules.filter(({ path }) => path.startsWith(`${room}/`));

test("there is something to look at", () => {
  assert.ok(inRoom("live").length > 10 && inRoom("dashboard").length > 10);
});

test("imports are relative and name a file that is there", () => {
  const paths = new Set(modules.map(({ path }) => path));
  for (const { path, imports } of modules) {
    for (const { from, to } of imports) assert.ok(from.startsWith(".") && paths.has(to), `${path} imports ${from}`);
  }
});

test("live knows no page: it runs without one", () => {
  for (const { path, code, imports } of inRoom("live")) {
    assert.doesNotMatch(code, /\b(document|window|localStorage|sessionStorage|navigator|location)\b/, path);
    for (const { to } of imports) assert.ok(to.startsWith("live/"), `${path} imports ${to}`);
  }
});

test("dashboard knows no transport", () => {
  for (const { path, code, imports } of inRoom("dashboard")) {
    if (ENTRIES.has(path)) continue;
    assert.doesNotMatch(code, /\b(WebSocket|EventSource)\s*\(/, path);
    for (const { to } of imports) assert.ok(!to.startsWith("live/transports/"), `${path} imports ${to}`);
  }
});

test("no text becomes markup or code", () => {
  for (const { path, code } of modules) {
    assert.doesNotMatch(code, /(innerHTML|outerHTML)\s*=[^=]|insertAdjacentHTML|document\.write|\beval\b|new Function/, path);
  }
});
