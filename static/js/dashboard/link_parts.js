/**
 * The parts of a page that tell more of one's link than the feed does, such as the ledger of its gaps: only the server
 * knows them. Each carries the version of the link's state that it was rendered with (`data-noted`); once the feed
 * knows a newer one, the server renders them anew.
 */

import { systemClock } from "../live/clock.js";
import { LINK } from "../live/feed.js";
import { fetchPage } from "./render.js";
import { showTimesIn } from "./times.js";

/** News of a link comes in a burst: connecting, syncing, open, compared. */
export const GATHER_MS = 300;

/** While the server does not answer, or knows less than the feed told: to ask at once again would not help. */
export const AGAIN_MS = 3_000;

export class LinkParts {
  #parts;
  #signal;
  #clock;
  #isFollowing = false;

  /**
   * @param {{rendered: () => number, known: () => number, renew: (signal: AbortSignal) => Promise<void>}} parts the
   *   version that is on the page, the one that the feed knows, and how to have the page's replaced
   * @param {AbortSignal} signal ends it
   * @param {import("../live/clock.js").Clock} [clock]
   */
  constructor(parts, signal, clock = systemClock) {
    this.#parts = parts;
    this.#signal = signal;
    this.#clock = clock;
  }

  /** @returns {LinkParts} those of the page */
  static ofPage(store, signal) {
    return new LinkParts({ rendered, renew, known: () => store.entity(LINK)?.fields.gap?.[1] ?? 0 }, signal);
  }

  /** Brings them up to what the feed knows, if they are behind. May be called at any time, and as often as one likes. */
  follow() {
    if (!this.#isFollowing && this.#isBehind()) this.#later(GATHER_MS);
  }

  #isBehind() {
    return this.#parts.known() > this.#parts.rendered();
  }

  #later(ms) {
    this.#isFollowing = true;
    this.#clock.after(ms, () => this.#renew());
  }

  async #renew() {
    if (this.#signal.aborted) return;
    const before = this.#parts.rendered();
    await this.#parts.renew(this.#signal).catch(() => {});
    this.#isFollowing = false;
    if (this.#isBehind()) this.#later(this.#parts.rendered() > before ? GATHER_MS : AGAIN_MS);
  }
}

const shown = (page) => [...page.querySelectorAll("[data-link-part]")];

function rendered() {
  return Math.min(...shown(document).map(({ dataset }) => Number(dataset.noted)));
}

async function renew(signal) {
  const page = await fetchPage(signal);
  const anew = new Map(shown(page).map((part) => [part.dataset.linkPart, part]));
  for (const part of shown(document)) {
    const { dataset, childNodes } = anew.get(part.dataset.linkPart);
    part.dataset.noted = dataset.noted;
    part.replaceChildren(...childNodes);
    showTimesIn(part);
  }
}
