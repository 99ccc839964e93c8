/**
 * What the browser knows and the connection does not: its network, its sleep, and whether anybody looks.
 */

/** @param {import("../live/connection.js").Connection} connection */
export function followBrowser(connection) {
  addEventListener("online", () => connection.hint(true));
  addEventListener("offline", () => connection.hint(false));
  addEventListener("pagehide", () => connection.close());
  addEventListener("pageshow", ({ persisted }) => persisted && connection.open());
  document.addEventListener("resume", () => connection.wake());
  document.addEventListener("visibilitychange", () => {
    tellVisibility(connection);
    if (!document.hidden) connection.wake();
  });
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
