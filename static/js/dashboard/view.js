/**
 * What this person looks at: who belongs to several organisations sees one of them at a time, in all tabs.
 *
 * The feed tells of all of them; the snapshot says which ones are put aside.
 */

/** The entity that says it, as feed and snapshot have it. */
export const VIEW = "view/self";

/** What is one's own in every organisation, and never put aside. */
const PERSONAL = new Set(["member", "user"]);

/** @returns {boolean} whether it tells of this person's own link or view: that is shown, and no news */
export function isOwn(key) {
  return key.endsWith("/self");
}

/**
 * @param {string} key
 * @param {import("../live/store.js").Store} store
 * @returns {boolean} whether it is an organisation's that this person does not look at now
 */
export function isAside(key, store) {
  const [kind, org] = key.split("/");
  return !PERSONAL.has(kind) && Boolean(store.value(VIEW, "aside")?.includes(org));
}
