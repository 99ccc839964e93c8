/**
 * The entry of every page: composes what keeps it right. The page is right by itself; without this script it
 * says as of when.
 */

import { Feed } from "../live/feed.js";
import { Store } from "../live/store.js";
import { sse } from "../live/transports/sse.js";
import { websocket } from "../live/transports/websocket.js";
import { beginAnnouncements } from "./announce.js";
import { ConnectionPage } from "./connection_page.js";
import { Device } from "./device.js";
import { Entities } from "./entities.js";
import { element } from "./hooks.js";
import { beginKeys } from "./keys.js";
import { List } from "./list.js";
import { Overview } from "./overview.js";
import { Pill } from "./pill.js";
import { beginTheme } from "./theme.js";
import { beginTimes } from "./times.js";
import { beginToasts, toast } from "./toast.js";

const MEMORY_KEY = "fleetlight.transport";

const { dataset } = document.body;

/** Every live page's own part: what it does with changes and with the status. */
const PARTS = {
  overview: (feed, entities) => new Overview(feed, entities),
  devices: (feed, entities) => List.begin(feed, entities),
  archives: (feed, entities) => List.begin(feed, entities),
  device: (feed) => new Device(feed),
  connection: (feed) => new ConnectionPage(feed, dataset.transports.split(",")),
};

function transports() {
  const ws = new URL(dataset.wsUrl, location.href);
  ws.protocol = ws.protocol.replace("http", "ws");
  const known = { websocket: () => websocket({ url: ws.href }), sse: () => sse({ url: dataset.sseUrl }) };
  return dataset.transports.split(",").flatMap((name) => (known[name] ? [known[name]()] : []));
}

async function fetchState(signal) {
  const response = await fetch(dataset.snapshotUrl, { signal, cache: "no-store", credentials: "same-origin" });
  if (!response.ok) throw new Error(`The server answered ${response.status}`);
  return response.json();
}

/** Storage may be forbidden: then nothing is remembered. */
const memory = {
  read() {
    try {
      return localStorage.getItem(MEMORY_KEY);
    } catch {
      return null;
    }
  },
  write(text) {
    try {
      localStorage.setItem(MEMORY_KEY, text);
    } catch {
      // As said above.
    }
  },
};

function beginLive() {
  const store = new Store(dataset.cursor);
  const entities = new Entities(store);
  let pill = null;
  let part = null;
  const feed = new Feed({
    store,
    transports: transports(),
    memory,
    fetchState,
    refused: ({ cause, next }) => toast(`${cause}. ${next}`),
    changed: () => {
      pill?.changed();
      part?.changed?.();
      statusChanged(feed);
    },
  });
  pill = new Pill(feed, (word) => part?.freshnessChanged?.(word));
  part = PARTS[dataset.page]?.(feed, entities) ?? null;
  beginToasts(store);
  beginAnnouncements(store);
  followBrowser(feed.connection);
  feed.connection.open();
  expose(feed);
}

let wasConnected = false;

function statusChanged({ connection }) {
  const { state, cause, next, accessEnded } = connection.status;
  if (state === "connected" && !wasConnected && document.hidden) connection.send({ type: "visibility", hidden: true });
  wasConnected = state === "connected";
  if (accessEnded) end(cause, next);
}

/** Who may no longer see this is not shown it any longer. */
function end(cause, next) {
  const again = element("a", { href: `/accounts/login/?next=${encodeURIComponent(location.pathname)}`, textContent: "Sign in" });
  const note = element("p", { className: "note", textContent: `${cause}. ${next} ` }, again);
  note.dataset.level = "error";
  note.setAttribute("role", "alert");
  document.querySelector("main").replaceChildren(note);
}

/** What the browser knows and the connection does not: its network, its sleep, whether anybody looks. */
function followBrowser(connection) {
  addEventListener("online", () => connection.hint(true));
  addEventListener("offline", () => connection.hint(false));
  addEventListener("pagehide", () => connection.close());
  addEventListener("pageshow", ({ persisted }) => persisted && connection.open());
  document.addEventListener("resume", () => connection.wake());
  document.addEventListener("visibilitychange", () => {
    connection.send({ type: "visibility", hidden: document.hidden });
    if (!document.hidden) connection.wake();
  });
  document.querySelector("[data-sign-out]")?.addEventListener("submit", () => connection.close());
}

/** For tests and for who looks under the bonnet: to read, not to change. */
function expose(feed) {
  const { connection, store } = feed;
  const entities = () => Object.fromEntries(Array.from(store.keys(), (key) => [key, store.entity(key).fields]));
  window.fleetlight = Object.freeze({
    connection: Object.freeze({ state: () => connection.status.state, status: () => feed.status }),
    store: Object.freeze({ cursor: () => String(store.cursor), entities }),
  });
}

beginTheme();
beginTimes();
beginKeys();
if (dataset.live === "on") beginLive();
