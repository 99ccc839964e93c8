/**
 * The live feed over a WebSocket: the first choice, since it carries both ways.
 *
 * @typedef {object} Ending how a line ended
 * @property {number} code a close code of `closings.js`, or one of the network's
 * @property {string} [reason]
 * @property {number} [retryAfter] milliseconds that the server asked to wait
 *
 * @typedef {object} Callbacks the same four for every transport
 * @property {() => void} opened the line is up; the server has said nothing yet
 * @property {(text: string) => void} message one frame
 * @property {() => void} alive something arrived that is no frame
 * @property {(ending: Ending) => void} ended once, and last; not after our own `close`
 *
 * @typedef {object} Line
 * @property {(text: string) => boolean} send false when the line cannot carry it now
 * @property {() => void} close ends it; nothing more is called
 *
 * @typedef {object} Transport
 * @property {string} name
 * @property {boolean} pings whether a ping goes and comes on the line itself
 * @property {(cursor: string, callbacks: Callbacks) => Line} open
 */

const CLOSE_NORMAL = 1000;

/**
 * @param {{url: string, WebSocket?: typeof globalThis.WebSocket}} options
 * @returns {Transport}
 */
export function websocket({ url, WebSocket = globalThis.WebSocket }) {
  return {
    name: "websocket",
    pings: true,
    open: (cursor, callbacks) => new WebSocketLine(new WebSocket(withCursor(url, cursor)), callbacks),
  };
}

/** @implements {Line} */
class WebSocketLine {
  #socket;

  constructor(socket, { opened, message, ended }) {
    this.#socket = socket;
    socket.onopen = opened;
    socket.onmessage = ({ data }) => message(data);
    socket.onclose = ({ code, reason }) => ended({ code, reason });
  }

  send(text) {
    if (this.#socket.readyState !== this.#socket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  close() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(CLOSE_NORMAL);
  }
}

/** @returns {string} the door's address with the cursor as a parameter */
export function withCursor(url, cursor) {
  if (!cursor) return url;
  return `${url}${url.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}`;
}
