// Hours in a place of the world, example by example.

import { describe, expect, it } from "vitest";
import type { Hours } from "../../src/core/hold-document.ts";
import { findHoursFault, isOpen, nextOpening } from "../../src/core/hours.ts";

const office: Hours = {
  days: ["mon", "tue", "wed", "thu", "fri"],
  from: "09:00",
  to: "17:00",
  zone: "Europe/Berlin",
};
const at = (text: string): number => Date.parse(text);
const next = (windows: readonly Hours[], from: string): string | null => {
  const found = nextOpening(windows, at(from));
  return found === null ? null : new Date(found).toISOString();
};

describe("hours", () => {
  it("are open from their start, and not at their end", () => {
    // A Monday in winter: Berlin is an hour ahead.
    expect(isOpen(office, at("2026-11-23T07:59:59.999Z"))).toBe(false);
    expect(isOpen(office, at("2026-11-23T08:00:00.000Z"))).toBe(true);
    expect(isOpen(office, at("2026-11-23T15:59:59.999Z"))).toBe(true);
    expect(isOpen(office, at("2026-11-23T16:00:00.000Z"))).toBe(false);
  });

  it("follow the summer time of their zone", () => {
    expect(isOpen(office, at("2026-07-06T07:30:00Z"))).toBe(true);
    expect(isOpen(office, at("2026-07-06T15:30:00Z"))).toBe(false);
  });

  it("over midnight belong to the day of their start", () => {
    const night: Hours = { days: ["fri"], from: "22:00", to: "04:00", zone: "UTC" };
    expect(isOpen(night, at("2026-11-27T23:00Z"))).toBe(true);
    expect(isOpen(night, at("2026-11-28T03:59Z"))).toBe(true);
    expect(isOpen(night, at("2026-11-28T04:00Z"))).toBe(false);
    expect(isOpen(night, at("2026-11-27T03:00Z"))).toBe(false);
    expect(isOpen(night, at("2026-11-28T23:00Z"))).toBe(false);
  });

  it("over midnight of Sunday go on on Monday", () => {
    const night: Hours = { days: ["sun"], from: "22:00", to: "04:00", zone: "UTC" };
    expect(isOpen(night, at("2026-11-30T03:00Z"))).toBe(true);
  });

  it("of a whole day end with it", () => {
    const weekend: Hours = { days: ["sat", "sun"], from: "00:00", to: "24:00", zone: "UTC" };
    expect(next([weekend], "2026-11-23T12:00Z")).toBe("2026-11-28T00:00:00.000Z");
    expect(isOpen(weekend, at("2026-11-29T23:59:59Z"))).toBe(true);
    expect(isOpen(weekend, at("2026-11-30T00:00:00Z"))).toBe(false);
  });

  it("that a clock change leaves out do not come that day", () => {
    const early: Hours = { days: ["sun"], from: "02:15", to: "02:45", zone: "Europe/Berlin" };
    expect(next([early], "2026-03-28T12:00Z")).toBe("2026-04-05T00:15:00.000Z");
    expect(next([{ ...early, to: "03:30" }], "2026-03-28T12:00Z")).toBe("2026-03-29T01:00:00.000Z");
  });

  it("that a clock change repeats come twice", () => {
    const early: Hours = { days: ["sun"], from: "02:15", to: "02:45", zone: "Europe/Berlin" };
    expect(next([early], "2026-10-24T12:00Z")).toBe("2026-10-25T00:15:00.000Z");
    expect(next([early], "2026-10-25T00:45Z")).toBe("2026-10-25T01:15:00.000Z");
  });

  it("of several places are open together where all are", () => {
    const newYork: Hours = { ...office, zone: "America/New_York" };
    expect(next([office, newYork], "2026-11-23T00:00Z")).toBe("2026-11-23T14:00:00.000Z");
    expect(next([office, { ...office, from: "17:00", to: "18:00" }], "2026-11-23T00:00Z")).toBe(null);
  });

  it("without any are open at once, to the millisecond", () => {
    expect(nextOpening([], 1_700_000_000_123)).toBe(1_700_000_000_123);
    expect(nextOpening([office], at("2026-11-23T10:00:00.123Z"))).toBe(at("2026-11-23T10:00:00.123Z"));
  });

  it("of a zone that is not known are never open", () => {
    const lost: Hours = { ...office, zone: "Mars/Base" };
    expect(isOpen(lost, at("2026-11-23T10:00Z"))).toBe(false);
    expect(nextOpening([lost], at("2026-11-23T10:00Z"))).toBe(null);
  });

  it("are known in more zones than are remembered", () => {
    for (let round = 0; round < 2; round++) {
      for (const zone of Intl.supportedValuesOf("timeZone").slice(0, 100)) {
        expect(findHoursFault({ ...office, zone }), zone).toBe(null);
      }
    }
    expect(isOpen(office, at("2026-11-23T10:00Z"))).toBe(true);
  });
});

describe("a fault in hours", () => {
  it.each([
    ["no day", { days: [] }, "at least one day"],
    ["an unknown day", { days: ["monday"] }, 'found "monday"'],
    ["a day twice", { days: ["mon", "mon"] }, "each day once"],
    ["no length", { from: "09:00", to: "09:00" }, "to differ"],
    ["an hour of one digit", { from: "9:00" }, "`from` as a time"],
    ["a start at the end of the day", { from: "24:00" }, "`from` as a time"],
    ["minutes beyond the hour", { to: "17:60" }, "`to` as a time"],
    ["an end beyond the day", { to: "24:01" }, "`to` as a time"],
    ["a line after the time", { from: "09:00\n" }, "`from` as a time"],
    ["an unknown zone", { zone: "Europe/Atlantis" }, "IANA name"],
    ["an offset", { zone: "+01:00" }, "IANA name"],
    ["no zone", { zone: "" }, "IANA name"],
    [
      "all of the week",
      { days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], from: "00:00", to: "24:00" },
      "leave some out",
    ],
  ])("is %s", (_rule, change, message) => {
    expect(findHoursFault({ ...office, ...change })).toContain(message);
  });

  it.each(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])("is not the zone %s", (zone) => {
    expect(findHoursFault({ ...office, zone })).toBe(null);
  });
});
