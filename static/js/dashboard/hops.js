/**
 * How long a change was on its way, hop by hop. Pure.
 */

/** Where a change passes, in order, by the names of a frame's `at`; the last is this page. */
const HOPS = [
  ["source", "received", "AppSync to worker"],
  ["received", "recorded", "Worker to database"],
  ["recorded", "relayed", "Database to feed"],
  ["relayed", "shown", "Feed to this page"],
];

/**
 * @typedef {object} Hop
 * @property {string} name
 * @property {number} start milliseconds since the first time that is known
 * @property {number} duration milliseconds; never negative, since clocks differ by a little
 */

/**
 * @param {Record<string, number | null>} at a frame's times, in microseconds
 * @param {number} shown when the page had it, in microseconds of the server's clock
 * @returns {Hop[]} those whose both ends are known
 */
export function hops(at, shown) {
  const times = { ...at, shown };
  const known = HOPS.filter(([from, to]) => times[from] && times[to]);
  const first = known.length ? times[known[0][0]] : 0;
  return known.map(([from, to, name]) => ({
    name,
    start: Math.max(0, times[from] - first) / 1000,
    duration: Math.max(0, times[to] - times[from]) / 1000,
  }));
}

/** @returns {number} milliseconds from the source, or from where it is first known, to the page */
export function total(found) {
  return Math.max(0, ...found.map(({ start, duration }) => start + duration));
}

/** @returns {number | null} the middle one; null of none */
export function median(numbers) {
  if (!numbers.length) return null;
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** @returns {string} milliseconds as people read them */
export function duration(ms) {
  if (ms === null) return "—";
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
