/**
 * The organisation switcher, and a switch that was made in another tab: this one follows, without being loaded again.
 */

import { renderNow, renderSoon } from "./render.js";
import { toast } from "./toast.js";
import { VIEW } from "./view.js";

let switched = false;

/** @param {import("../live/store.js").Store} store */
export function beginSwitcher(store) {
  closeWhenLeft();
  store.subscribe(VIEW, ({ fields }) => {
    if (!fields.includes("organization")) return;
    switched = true;
    renderNow();
  });
  store.subscribe("*", ({ key, created, gone, fields }) => {
    // Another membership is another choice.
    if (key.startsWith("member/") && (created || gone || fields.includes("role"))) renderSoon();
  });
}

/** Says why everything on the page is another, once it is. */
export function tellSwitched() {
  const name = document.querySelector(".switcher-name")?.textContent;
  if (switched && name) toast(`You are looking at ${name} now`);
  switched = false;
}

/** As a menu is expected to: by the escape key, which gives the focus back, and by a click elsewhere. */
function closeWhenLeft() {
  const opened = () => document.querySelector("[data-switcher] details[open]");
  document.addEventListener("click", ({ target }) => {
    const details = opened();
    if (details && !details.contains(target)) details.open = false;
  });
  document.addEventListener("keydown", ({ key }) => {
    const details = key === "Escape" ? opened() : null;
    if (!details) return;
    details.open = false;
    details.querySelector("summary").focus();
  });
}
