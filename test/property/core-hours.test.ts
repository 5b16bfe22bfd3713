// The next opening against a walk, minute by minute, that reads a clock on the wall: around changes of the clock, over
// midnight, and for several places at once.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Hours } from "../../src/core/hold-document.ts";
import { DAYS, findHoursFault, isOpen, nextOpening, normalizeHours } from "../../src/core/hours.ts";

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

const clocks = new Map<string, Intl.DateTimeFormat>();

/** `Sat 14:05`, as a person there reads it. */
function readClock(zone: string, instant: number): readonly [day: string, time: string] {
  const clock =
    clocks.get(zone) ??
    new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  clocks.set(zone, clock);
  const [day = "", time = ""] = clock.format(instant).replace(",", "").split(" ");
  return [day.toLowerCase(), time];
}

function isOpenNaively({ days, from, to, zone }: Hours, instant: number): boolean {
  const [today, time] = readClock(zone, instant);
  const has = (day: string | undefined): boolean => days.some((one) => one === day);
  const yesterday = DAYS.at(DAYS.findIndex((day) => day === today) - 1);
  // Times of two digits compare as texts.
  if (from < to) return has(today) && from <= time && time < to;
  return (has(today) && time >= from) || (has(yesterday) && time < to);
}

function walk(windows: readonly Hours[], from: number, until: number): number | null {
  for (let at = from; at <= until; at = (Math.floor(at / MINUTE) + 1) * MINUTE) {
    if (windows.every((hours) => isOpenNaively(hours, at))) return at;
  }
  return null;
}

const time = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom("00", "07", "15", "30", "59"))
  .map(([hour, minute]) => `${String(hour).padStart(2, "0")}:${minute}`);
const zone = fc.constantFrom(
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "America/St_Johns",
  "Australia/Lord_Howe",
  "Asia/Kolkata",
  "Africa/Casablanca",
  "Antarctica/Troll",
  "Pacific/Apia",
);
const hours: fc.Arbitrary<Hours> = fc
  .record({
    days: fc.uniqueArray(fc.constantFrom(...DAYS), { minLength: 1, maxLength: 7 }),
    from: time,
    to: fc.oneof(time, fc.constant("24:00")),
    zone,
  })
  .filter((one) => findHoursFault(one) === null);
const windows = fc.array(hours, { minLength: 1, maxLength: 3 });

/** Changes of the clock in these zones, and one that left out a whole day. */
const change = fc
  .constantFrom(
    "2026-03-29T01:00Z",
    "2026-10-25T01:00Z",
    "2026-03-08T07:00Z",
    "2026-11-01T06:00Z",
    "2026-04-04T15:00Z",
    "2026-10-03T15:30Z",
    "2026-02-15T02:00Z",
    "2011-12-30T10:00Z",
  )
  .map((text) => Date.parse(text));
const instant = fc.tuple(change, fc.integer({ min: -3 * DAY, max: DAY })).map(([at, offset]) => at + offset);

describe("the next opening", () => {
  it("is what a walk by the minute finds", () => {
    let found = 0;
    fc.assert(
      fc.property(windows, instant, (all, from) => {
        const next = nextOpening(all, from);
        const walked = walk(all, from, from + 3 * DAY);
        if (walked !== null) found++;
        expect(next !== null && next <= from + 3 * DAY ? next : null).toBe(walked);
      }),
      { numRuns: 250 },
    );
    expect(found).toBeGreaterThan(50);
  });

  it("is found as far ahead as 15 days, and not beyond", () => {
    const rare: Hours = { days: ["sun"], from: "02:07", to: "02:30", zone: "Europe/Berlin" };
    const from = Date.parse("2026-03-22T01:30Z");
    // The clock leaves out the hour of the next Sunday.
    expect(nextOpening([rare], from)).toBe(walk([rare], from, from + 15 * DAY));
    expect(nextOpening([rare], from)).toBe(Date.parse("2026-04-05T00:07Z"));
    const together: readonly Hours[] = [rare, { ...rare, days: ["mon"] }];
    expect(nextOpening(together, from)).toBe(walk(together, from, from + 15 * DAY));
  });

  it("is open, and nothing before it is", () => {
    fc.assert(
      fc.property(windows, instant, fc.double({ min: 0, max: 1, noNaN: true }), (all, from, part) => {
        const next = nextOpening(all, from);
        if (next === null) return;
        expect(all.every((one) => isOpen(one, next))).toBe(true);
        expect(next === from || next % MINUTE === 0).toBe(true);
        const before = Math.floor(from + (next - from) * part);
        if (before < next) expect(all.every((one) => isOpen(one, before))).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it("does not depend on the order of windows and days, nor on how midnight is spelled", () => {
    const respell = (one: Hours): Hours => ({
      ...one,
      days: one.days.toReversed(),
      to: one.to === "24:00" && one.from !== "00:00" ? "00:00" : one.to,
    });
    fc.assert(
      fc.property(windows, instant, (all, from) => {
        expect(nextOpening(all.map(respell).toReversed(), from)).toBe(nextOpening(all, from));
        expect(all.map((one) => normalizeHours(respell(one)))).toEqual(all.map(normalizeHours));
      }),
      { numRuns: 500 },
    );
  });
});

describe("hours that were never checked", () => {
  const unchecked = fc.record({
    days: fc.array(fc.oneof(fc.constantFrom(...DAYS), fc.string({ maxLength: 4 })), { maxLength: 4 }),
    from: fc.oneof(time, fc.string({ maxLength: 6 })),
    to: fc.oneof(time, fc.string({ maxLength: 6 })),
    zone: fc.oneof(zone, fc.string({ maxLength: 80 }), fc.constantFrom("+01:00", "Mars/Base", "")),
  });

  it("have a fault in words, or are hours; and are never open where a time, a day or the zone is none", () => {
    const isTime = (text: string): boolean => /^(?:[01]\d|2[0-3]):[0-5]\d$/.test(text);
    fc.assert(
      fc.property(unchecked, instant, (some, at) => {
        const fault = findHoursFault(some);
        if (fault !== null) expect(fault).toMatch(/^expected .+, found /);
        // What a store that was tampered with could hold.
        const hostile = some as Hours;
        const isKnown =
          isTime(some.from) && isTime(some.to) && some.days.every((day) => DAYS.some((one) => one === day));
        if (!isKnown) expect(isOpen(hostile, at)).toBe(false);
        if (!isKnown) expect(nextOpening([hostile], at)).toBe(null);
      }),
      { numRuns: 2000 },
    );
  });
});
