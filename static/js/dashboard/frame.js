/**
 * Work on the page, gathered and cut to frames: however many changes arrive, each thing is done once a frame,
 * and a frame never spends more than its share, so that a thousand rows freeze nothing.
 */

/** Half of a frame at 60 Hz: the browser needs the rest for layout and paint. */
const SHARE_MS = 8;

export class FrameQueue {
  #work;
  #waiting = new Set();
  #scheduled = false;

  /** @param {(item: any) => void} work done for each item, once however often it was added */
  constructor(work) {
    this.#work = work;
  }

  add(item) {
    this.#waiting.add(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#run());
  }

  #run() {
    this.#scheduled = false;
    const until = performance.now() + SHARE_MS;
    for (const item of this.#waiting) {
      if (performance.now() > until) return this.add(item);
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
