/**
 * The entry of every page: composes what keeps it right. The page is right by itself; without this script it
 * says as of when.
 */

import { Feed } from "../live/feed.js";
import { Store } from "../live/store.js";
import { sse } from "../live/transports/sse.js";
import { websocket } from "../live/transports/websocket.js";
import { beginAnnouncements } from "./announce.js";
import { followBrowser, tellVisibility, transportMemory } from "./browser.js";
import { ConnectionPage } from "./connection_page.js";
import { Device } from "./device.js";
import { Entities } from "./entities.js";
import { beginKeys } from "./keys.js";
import { List } from "./list.js";
import { Overview } from "./overview.js";
import { Pill } from "./pill.js";
import { Pulse } from "./pulse.js";
import { onRender, renderAsTheyComeAndGo } from "./render.js";
import { beginSignOut, showEnd } from "./sign_out.js";
import { beginSwitcher, tellSwitched } from "./switcher.js";
import { beginTheme } from "./theme.js";
import { beginTimes, showTimes } from "./times.js";
import { beginToasts, toast } from "./toast.js";
import { isAside } from "./view.js";
import { Waterfall } from "./waterfall.js";

const { dataset } = document.body;

/** Every live page's own part, until the signal; it may have `changed` (the status) and `freshnessChanged`. */
const PARTS = {
  overview: (feed, entities, signal) => new Overview(feed, entities, signal),
  devices: (feed, entities, signal) => List.begin(feed, entities, signal),
  archives: (feed, entities, signal) => List.begin(feed, entities, signal),
  device: (feed, entities, signal) => new Device(feed, signal),
  organization: (feed, entities, signal) => renderAsTheyComeAndGo(feed.store, ["organization", "member"], signal),
  connection: (feed, entities, signal) => new ConnectionPage(feed, dataset.transports.split(","), signal),
};

/** What is on the page from one rendering by the server to the next. It ends together. */
class Content {
  #ending = new AbortController();

  constructor(feed) {
    const { signal } = this.#ending;
    this.part = PARTS[dataset.page]?.(feed, new Entities(feed.store, signal), signal);
    Pulse.begin(feed, signal);
    Waterfall.begin(feed, signal);
  }

  end() {
    this.#ending.abort();
  }
}

function beginLive() {
  const store = new Store(dataset.cursor, isAside);
  const listeners = [];
  const feed = new Feed({
    store,
    transports: transports(),
    memory: transportMemory,
    fetchState,
    refused: ({ cause, next }) => toast(`${cause}. ${next}`),
    changed: () => listeners.forEach((listener) => listener()),
  });
  let content = new Content(feed);
  const pill = new Pill(feed, () => content.part?.freshnessChanged?.());
  listeners.push(() => pill.changed(), () => content.part?.changed?.(), followStatus(feed));
  onRender(() => {
    content.end();
    content = new Content(feed);
    showTimes();
    pill.showAnew();
    tellSwitched();
    // What changed between that rendering and now is known; what ended is not, and may be on the page again.
    feed.refresh();
  });
  beginSwitcher(store);
  beginToasts(store);
  beginAnnouncements(store);
  followBrowser(feed.connection);
  beginSignOut(feed.connection);
  expose(feed);
  feed.connection.open();
}

/** @returns {import("../live/transports/websocket.js").Transport[]} those that are configured and known here */
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

/** @returns {() => void} to be called after every change of the status */
function followStatus({ connection }) {
  let wasUp = false;
  return () => {
    const { state, cause, next, accessEnded } = connection.status;
    const isUp = state === "connected";
    if (isUp && !wasUp && document.hidden) tellVisibility(connection);
    wasUp = isUp;
    if (accessEnded) showEnd(cause, next);
  };
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
