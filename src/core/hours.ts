// Hours of the week in a place of the world: whether they are open at an instant, and when they are next. Pure. What
// counts is what the clock on the wall there shows: an hour that a clock change leaves out does not come, one that it
// repeats comes twice. Never open out of doubt: a zone that is not known has no hours.

import type { Instant } from "./clock.ts";
import type { Hours } from "./hold-document.ts";

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;
const WEEK_MINUTES = 7 * DAY_MINUTES;
/** Two weeks and a day: a window of one hour a week can fall into a clock change once. */
const SEARCH_MS = 15 * DAY_MINUTES * MINUTE_MS;
const MAX_ZONES = 64;
const MAX_ZONE_LENGTH = 64;
/** No offsets like `+01:00`: they know no summer. */
const ZONE = /^[A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+)*$/;
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d$/;
/** The end of a day, and so only of a window. */
const MIDNIGHT = "24:00";
/** 1 January 1970 was a Thursday. */
const FIRST_DAY = DAYS.indexOf("thu");

interface Zone {
  readonly format: Intl.DateTimeFormat;
  /** Several windows of one zone are asked about the same minute. */
  last: { readonly minute: number; readonly shown: number } | null;
}

/** By name, oldest first. */
const zones = new Map<string, Zone>();

/** What is wrong with hours that somebody wrote, or null. */
export function findHoursFault(hours: {
  readonly days: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly zone: string;
}): string | null {
  const { days, from, to, zone } = hours;
  if (days.length === 0) return "expected at least one day, found none";
  const unknown = days.find((day) => !DAYS.some((known) => known === day));
  if (unknown !== undefined)
    return `expected days of ${DAYS.join(", ")}, found ${JSON.stringify(unknown.slice(0, 16))}`;
  if (new Set(days).size < days.length) return "expected each day once, found one again";
  if (!TIME.test(from)) return "expected `from` as a time like '09:00', found another";
  if (!TIME.test(to) && to !== MIDNIGHT) return "expected `to` as a time like '17:00', at most '24:00', found another";
  if (from === to)
    return "expected `from` and `to` to differ, found the same time: for a whole day, '00:00' to '24:00'";
  if (days.length === DAYS.length && minutesOf(from) === 0 && to === MIDNIGHT) {
    return "expected hours that leave some out, found all of the week";
  }
  return findZone(zone) === null
    ? "expected `zone` as an IANA name like 'Europe/Berlin' or 'UTC', found another"
    : null;
}

/** Days in the order of the week and one spelling of midnight, so that equal hours are equal. For hours without fault. */
export function normalizeHours({ days, from, to, zone }: Hours): Hours {
  return { days: DAYS.filter((day) => days.includes(day)), from, to: to === "00:00" ? MIDNIGHT : to, zone };
}

export function isOpen(hours: Hours, instant: Instant): boolean {
  const zone = findZone(hours.zone);
  return zone !== null && waitMinutes(hours, shownAt(zone, minuteOf(instant))) === 0;
}

/**
 * The earliest instant from `from` on at which all of them are open: `from` itself, or a whole minute. Null where there
 * is none within 15 days.
 */
export function nextOpening(windows: readonly Hours[], from: Instant): Instant | null {
  for (let at = from; at <= from + SEARCH_MS;) {
    const next = latestOpening(windows, at);
    if (next === at) return at;
    if (next === null) return null;
    at = next;
  }
  return null;
}

/** `at` where all are open. Else an instant after it before which they are not open together; null: never. */
function latestOpening(windows: readonly Hours[], at: Instant): Instant | null {
  let latest = at;
  for (const hours of windows) {
    const zone = findZone(hours.zone);
    if (zone === null) return null;
    const minute = minuteOf(at);
    const wait = waitMinutes(hours, shownAt(zone, minute));
    if (wait === null) return null;
    if (wait > 0) latest = Math.max(latest, stepAhead(zone, minute, wait) * MINUTE_MS);
  }
  return latest;
}

/**
 * So many minutes on, but at most a day, and only up to a change of the clock: what it shows from there on is another
 * thing. No zone changes its clock and back again within a day.
 */
function stepAhead(zone: Zone, minute: number, wait: number): number {
  let after = minute + Math.min(wait, DAY_MINUTES);
  const offset = shownAt(zone, minute) - minute;
  if (shownAt(zone, after) - after === offset) return after;
  let before = minute;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (shownAt(zone, middle) - middle === offset) before = middle;
    else after = middle;
  }
  return after;
}

/** Minutes that a clock, left alone, has yet to show until the hours are open: 0 while they are. Null: never. */
function waitMinutes({ days, from, to }: Hours, shown: number): number | null {
  const opens = minutesOf(from);
  const closes = minutesOf(to);
  const length = closes > opens ? closes - opens : closes - opens + DAY_MINUTES;
  const now = modulo(shown + FIRST_DAY * DAY_MINUTES, WEEK_MINUTES);
  // What was never checked is no hours.
  if (!(length > 0)) return null;
  let least: number | null = null;
  for (const day of days) {
    const index = DAYS.indexOf(day);
    if (index < 0) return null;
    const since = modulo(now - (index * DAY_MINUTES + opens), WEEK_MINUTES);
    const wait = since < length ? 0 : WEEK_MINUTES - since;
    least = Math.min(wait, least ?? wait);
  }
  return least;
}

function minuteOf(instant: Instant): number {
  return Math.floor(instant / MINUTE_MS);
}

/** NaN for what is no time. */
function minutesOf(time: string): number {
  if (!TIME.test(time) && time !== MIDNIGHT) return Number.NaN;
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

function modulo(number: number, size: number): number {
  return ((number % size) + size) % size;
}

/** What the clock there shows, in minutes, as if it stood in UTC. */
function shownAt(zone: Zone, minute: number): number {
  if (zone.last?.minute === minute) return zone.last.shown;
  const parts = new Map(zone.format.formatToParts(minute * MINUTE_MS).map(({ type, value }) => [type, Number(value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? Number.NaN;
  const shown = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute")) / MINUTE_MS;
  zone.last = { minute, shown };
  return shown;
}

/** Null where there is none of this name. */
function findZone(name: string): Zone | null {
  const known = zones.get(name);
  if (known !== undefined) return known;
  if (name.length > MAX_ZONE_LENGTH || !ZONE.test(name)) return null;
  const format = createFormat(name);
  if (format === null) return null;
  for (const oldest of zones.keys()) {
    if (zones.size < MAX_ZONES) break;
    zones.delete(oldest);
  }
  const zone: Zone = { format, last: null };
  zones.set(name, zone);
  return zone;
}

function createFormat(timeZone: string): Intl.DateTimeFormat | null {
  const numbers = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" } as const;
  try {
    return new Intl.DateTimeFormat("en-US-u-ca-gregory-nu-latn", { timeZone, hourCycle: "h23", ...numbers });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
