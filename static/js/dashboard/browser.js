/**
 * What the browser knows and the connection does not: its network, its sleep, and whether anybody looks.
 */

/**
 * HTTP/1.1 has six connections to a host for all tabs together. A stream that nobody has looked at for so long
 * gives its one back, or a seventh tab would not even load; it goes on from its cursor when it is looked at.
 */
const HIDDEN_STREAM_MS = 30_000;

/** @param {import("../live/connection.js").Connection} connection */
export function followBrowser(connection) {
  addEventListener("online", () => connection.hint(true));
  addEventListener("offline", () => connection.hint(false));
  addEventListener("pagehide", () => connection.close());
  addEventListener("pageshow", ({ persisted }) => persisted && connection.open());
  document.addEventListener("resume", () => connection.wake());
  let giveBack = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(giveBack);
    if (document.hidden) giveBack = setTimeout(() => closeStream(connection), HIDDEN_STREAM_MS);
    else connection.open();
    tellVisibility(connection);
    if (!document.hidden) connection.wake();
  });
}

function closeStream(connection) {
  if (connection.status.transport !== "websocket") connection.close();
}

/** A hidden page gets what is not urgent gathered, every few seconds. */
export function tellVisibility(connection) {
  connection.send({ type: "visibility", hidden: document.hidden });
}

const MEMORY_KEY = "fleetlight.transport";

/**
 * Which transport worked, for the next page. Storage may be forbidden: then nothing is remembered.
 *
 * @type {import("../live/choice.js").Memory}
 */
export const transportMemory = {
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
