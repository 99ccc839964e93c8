/** A clock that moves only when a test says so, and runs what falls due on the way, in order. */
export class ManualClock {
  #now;
  #timers = [];

  constructor(now = Date.UTC(2026, 0, 1, 12)) {
    this.#now = now;
  }

  now = () => this.#now;

  after = (ms, run) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Moves on by `ms`; what falls due sees the time at which it was due. */
  advance(ms) {
    const until = this.#now + ms;
    for (let due = this.#next(until); due; due = this.#next(until)) {
      this.#now = Math.max(this.#now, due.at);
      this.#run(due);
    }
    this.#now = until;
  }

  /** The machine sleeps for `ms`: time passes, nothing runs, and what fell due runs late, at the end. */
  sleep(ms) {
    this.#now += ms;
    for (let due = this.#next(this.#now); due; due = this.#next(this.#now)) this.#run(due);
  }

  get pending() {
    return this.#timers.length;
  }

  #next(until) {
    return this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
  }

  #run(timer) {
    this.#timers = this.#timers.filter((other) => other !== timer);
    timer.run();
  }
}

/** Lets all promises that can settle do so. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));
