/**
 * The end of access: who may no longer see this is not shown it any longer, in this tab and in all others.
 */

import { element } from "./hooks.js";

const CHANNEL = "fleetlight.sign-out";

/** @param {import("../live/connection.js").Connection} connection */
export function beginSignOut(connection) {
  const channel = new BroadcastChannel(CHANNEL);
  document.querySelector("[data-sign-out]")?.addEventListener("submit", () => {
    connection.close();
    channel.postMessage("signed out");
  });
  channel.addEventListener("message", () => {
    connection.close();
    showEnd("Signed out", "You signed out in another tab.");
  });
}

/** Puts the end of access, and the way back in, in the place of what was shown. */
export function showEnd(cause, next) {
  const address = `/accounts/login/?next=${encodeURIComponent(location.pathname)}`;
  const again = element("a", { href: address, textContent: "Sign in" });
  const note = element("p", { className: "note", textContent: `${cause}. ${next} ` }, again);
  note.dataset.level = "error";
  note.setAttribute("role", "alert");
  document.querySelector("main").replaceChildren(note);
}
