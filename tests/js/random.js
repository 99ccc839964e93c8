/** A seeded generator (mulberry32), so that a failing run can be played again. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** @returns {number} uniform in [0, 1) */
  next = () => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  /** @returns {number} one of 0 … n − 1 */
  below(n) {
    return Math.floor(this.next() * n);
  }

  pick(items) {
    return items[this.below(items.length)];
  }

  chance(probability) {
    return this.next() < probability;
  }
}
