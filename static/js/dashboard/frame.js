/**
 * Work on the page, gathered and cut to frames: however many changes arrive, each thing is done once a frame,
 * and the page keeps most of its time for its reader, so that a busy fleet of a thousand rows freezes nothing.
 */

/** Half of a frame at 60 Hz: the browser needs the rest for layout and paint. */
const SHARE_MS = 8;

/** After a frame the queue rests for so many times what that frame cost, layout and paint included. */
const REST = 2;

export class FrameQueue {
  #work;
  #waiting = new Set();
  #scheduled = false;
  #restsUntil = 0;

  /** @param {(item: any) => void} work done for each item, once however often it was added */
  constructor(work) {
    this.#work = work;
  }

  add(item) {
    this.#waiting.add(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const rest = this.#restsUntil - performance.now();
    if (rest > 0) setTimeout(() => this.#askForFrame(), rest);
    else this.#askForFrame();
  }

  #askForFrame() {
    requestAnimationFrame(() => this.#run());
  }

  #run() {
    this.#scheduled = false;
    const begun = performance.now();
    // A timer that is set in a frame fires once the frame is painted: only then its cost is known.
    setTimeout(() => (this.#restsUntil = begun + (performance.now() - begun) * (1 + REST)));
    for (const item of this.#waiting) {
      if (performance.now() - begun > SHARE_MS) return this.add(item);
      this.#waiting.delete(item);
      this.#work(item);
    }
  }
}

/**
 * @param {number} ms
 * @param {() => void} work
 * @returns {() => void} asks for it soon, and at most every `ms`: numbers that flicker tell nobody anything
 */
export function atMostEvery(ms, work) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, ms);
  };
}
