/**
 * Delays before each next try: exponential with full jitter, so that the tabs that one restart cut off do not
 * come back together.
 *
 * @param {object} [options]
 * @param {number} [options.base] ceiling of the first delay, in milliseconds
 * @param {number} [options.cap] ceiling of all of them, in milliseconds
 * @param {() => number} [options.random] uniform in [0, 1)
 * @returns {Generator<number, never, void>} milliseconds; it never ends
 */
export function* backoff({ base = 500, cap = 20_000, random = Math.random } = {}) {
  for (let ceiling = base; ; ceiling = Math.min(cap, ceiling * 2)) {
    yield Math.floor(random() * ceiling);
  }
}
