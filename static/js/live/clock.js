/**
 * Time as an argument: whatever waits or measures gets a clock, so that a test plays hours in a millisecond.
 *
 * @typedef {object} Clock
 * @property {() => number} now milliseconds since the epoch
 * @property {(ms: number, run: () => void) => () => void} after runs once after `ms`; gives the way to cancel
 */

/**
 * The wall clock, and not the monotonic one: that may stand still while the machine sleeps, and a page must
 * notice that it slept.
 *
 * @type {Clock}
 */
export const systemClock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
