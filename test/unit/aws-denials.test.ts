// The policy that denies sessions of a role: it is read back as it was written, loses what is over and nothing else, and what
// somebody else wrote there is never taken for ours.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toAwsTime } from "../../src/core/aws-policy.ts";
import {
  compact,
  type Denials,
  NO_DENIALS,
  parseDenials,
  printDenials,
  withDenied,
} from "../../src/credentials/aws-denials.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const name = fc.stringMatching(/^vk_[0-9a-f]{8}_[0-9a-z]{26}_[0-9a-z]{8}$/);
const denied = fc.array(fc.tuple(name, fc.integer({ min: -HOUR, max: 12 * HOUR })), { maxLength: 50 });
const deny = (names: readonly (readonly [string, number])[]): Denials =>
  names.reduce<Denials>((all, [each, left]) => withDenied(all, each, NOW + left), NO_DENIALS);

describe("the policy that denies sessions", () => {
  it("is read back as it was written", () => {
    fc.assert(
      fc.property(denied, fc.option(fc.integer({ min: 0, max: 3600 })), (names, seconds) => {
        const all = { ...deny(names), before: seconds === null ? null : NOW + seconds * 1000 };
        const read = parseDenials(printDenials(all));
        expect(new Map(read?.names)).toEqual(new Map(all.names));
        expect(read?.before).toBe(all.before);
        expect(printDenials(read ?? NO_DENIALS)).toBe(printDenials(all));
      }),
    );
  });

  it("denies everything to each of them until it is over, and for 20 minutes more at most", () => {
    fc.assert(
      fc.property(denied, fc.integer({ min: 0, max: 12 * HOUR }), (names, later) => {
        const left = compact(deny(names), NOW + later, HOUR).names;
        for (const [each, until] of names) {
          if (until > later) expect(left.has(each)).toBe(true);
        }
        const last = new Map<string, number>();
        for (const [each, until] of names) last.set(each, Math.max(until, last.get(each) ?? -Infinity));
        for (const each of left.keys()) expect(last.get(each) ?? -Infinity).toBeGreaterThan(later - 20 * MINUTE);
      }),
    );
  });

  it("is IAM's, with a statement of letters and digits for each moment and a list of names", () => {
    const all = deny([
      ["vk_1", 10 * MINUTE],
      ["vk_2", 10 * MINUTE],
    ]);
    expect(JSON.parse(printDenials({ ...all, before: NOW }))).toEqual({
      Version: "2012-10-17",
      Statement: [
        {
          Sid: "Until20261123T121500Z",
          Effect: "Deny",
          Action: "*",
          Resource: "*",
          Condition: { StringLike: { "aws:userid": ["*:vk_1", "*:vk_2"] } },
        },
        {
          Sid: "Before20261123T120000Z",
          Effect: "Deny",
          Action: "*",
          Resource: "*",
          Condition: { DateLessThan: { "aws:TokenIssueTime": "2026-11-23T12:00:00Z" } },
        },
      ],
    });
  });

  it("keeps the moment that cuts off the whole role as long as a session of before may live", () => {
    const all = { ...NO_DENIALS, before: NOW };
    expect(compact(all, NOW + HOUR, HOUR).before).toBe(NOW);
    expect(compact(all, NOW + HOUR + 6 * MINUTE, HOUR).before).toBeNull();
  });

  it.each([
    ["not JSON", "{"],
    ["a list", "[]"],
    ["no statements", "{}"],
    ["another's statement", JSON.stringify({ Statement: [{ Sid: "AllowAll", Effect: "Allow" }] })],
    ["a time that is none", JSON.stringify({ Statement: [{ Sid: "Until20269923T121500Z" }] })],
    [
      "a name with a wildcard",
      JSON.stringify({
        Statement: [{ Sid: "Until20261123T121500Z", Condition: { StringLike: { "aws:userid": ["*:*"] } } }],
      }),
    ],
  ])("takes %s for nothing of its own", (_, text) => {
    expect(parseDenials(text)).toBeNull();
  });

  it("takes one name where IAM gives back no list", () => {
    const text = {
      Statement: [{ Sid: "Until20261123T121500Z", Condition: { StringLike: { "aws:userid": "*:vk_1" } } }],
    };
    expect([...(parseDenials(JSON.stringify(text))?.names ?? [])]).toEqual([
      ["vk_1", Date.parse("2026-11-23T12:15:00Z")],
    ]);
  });
});

describe("a time of AWS's", () => {
  it("is the second that has begun, in UTC", () => {
    expect(toAwsTime(NOW + 999)).toBe("2026-11-23T12:00:00Z");
    expect(toAwsTime(NOW - 1)).toBe("2026-11-23T11:59:59Z");
  });
});
