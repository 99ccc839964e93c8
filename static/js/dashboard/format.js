/**
 * How a field's value reads: one word for each format, the same as on the server's pages.
 */

/** What stands for a value that is not known. */
export const UNKNOWN = "—";

/** The heading of each field that people see. */
const LABELS = Object.freeze({
  online: "Presence",
  recording: "Recording",
  fwUpdateState: "Firmware",
  fwProgress: "Update progress",
  fwVersion: "Firmware version",
  name: "Name",
  model: "Model",
  siteId: "Site",
  deviceId: "Device",
  state: "State",
  progress: "Progress",
  licensePhase: "Licence",
  isFreePlan: "Plan",
  AIControlSetting: "AI settings",
  role: "Role",
  tokenRevoked: "Token revoked",
});

/** The format of each field that does not read as it comes. */
const FORMATS = Object.freeze({
  online: "presence",
  recording: "recording",
  fwUpdateState: "firmware",
  fwProgress: "progress",
  state: "words",
  progress: "progress",
  licensePhase: "phase",
  isFreePlan: "plan",
  AIControlSetting: "tree",
  role: "words",
});

/** @returns {string} the heading of a field */
export function label(name) {
  return LABELS[name] ?? words(name);
}

/** @returns {string} a field's value as it reads in one line */
export function shownAs(value, name) {
  return text(value, FORMATS[name] ?? "text");
}

/**
 * @param {unknown} value
 * @param {string} format a `data-format` of the page
 * @returns {string} the value as people read it; a dash while it is not known
 */
export function text(value, format) {
  if (value === null || value === undefined || value === "") return UNKNOWN;
  return (TEXTS[format] ?? plain)(value);
}

/** `NoticePeriod` → `Notice period`: words that nobody told us of stay readable. */
export function words(word) {
  const spaced = word.replace(/(?<=[a-z0-9])(?=[A-Z])/g, " ").replace(/[_-]/g, " ").trim();
  return spaced ? spaced[0].toUpperCase() + spaced.slice(1).toLowerCase() : UNKNOWN;
}

/** The upstream says recording as a flag or as a word. */
export function isRecording(value) {
  return value === true || (typeof value === "string" && value.toLowerCase() === "recording");
}

/** @param {number} us microseconds since the epoch */
export function timeOf(us) {
  return new Date(us / 1000);
}

/**
 * A moment in the viewer's zone: the time alone today, with the day otherwise.
 *
 * @param {Date} moment
 * @param {Date} now
 */
export function shortTime(moment, now) {
  return (moment.toDateString() === now.toDateString() ? TIME : DAY_AND_TIME).format(moment);
}

/** The same in full, with the zone: for who wants to know exactly. */
export function fullTime(moment) {
  return FULL.format(moment);
}

/** @returns {string} the viewer's zone, as people call it */
export function zone(moment) {
  return FULL.formatToParts(moment).find(({ type }) => type === "timeZoneName").value;
}

/** Hours and minutes, as the pill says them. */
export function clockTime(ms) {
  return HOURS_AND_MINUTES.format(ms);
}

const HOURS = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const HOURS_AND_MINUTES = new Intl.DateTimeFormat("en-GB", HOURS);
const TIME = new Intl.DateTimeFormat("en-GB", { ...HOURS, second: "2-digit" });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", ...HOURS });
const FULL = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  ...HOURS,
  second: "2-digit",
  fractionalSecondDigits: 3,
  timeZoneName: "short",
});

function wordsOf(value) {
  return typeof value === "string" ? words(value) : plain(value);
}

function plain(value) {
  if (typeof value === "boolean") return value ? "Yes" : "No";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const TEXTS = {
  presence: (value) => (typeof value === "boolean" ? (value ? "Online" : "Offline") : plain(value)),
  recording: (value) => (typeof value === "string" ? words(value) : value ? "Recording" : "Not recording"),
  firmware: wordsOf,
  progress: (value) => (typeof value === "number" ? `${Math.round(value)} %` : plain(value)),
  phase: wordsOf,
  plan: (value) => (value ? "Free plan" : "Paid plan"),
  bool: (value) => (value ? "Yes" : "No"),
  time: (value) => (!value ? UNKNOWN : `${shortTime(timeOf(value), new Date())} ${zone(timeOf(value))}`),
  words: wordsOf,
  tree: (value) => (typeof value === "object" ? `${Object.keys(value).length} settings` : plain(value)),
};
