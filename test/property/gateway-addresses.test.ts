// Whatever the address and however it is written: the check agrees with a second one that works on numbers alone.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isCidr } from "../../src/core/cidr.ts";
import { createAddressCheck } from "../../src/core/addresses.ts";

const check = createAddressCheck([]);

/** First and last address of each range that is not connected to. */
const RANGES: readonly (readonly [string, string])[] = [
  ["0.0.0.0", "0.255.255.255"],
  ["10.0.0.0", "10.255.255.255"],
  ["100.64.0.0", "100.127.255.255"],
  ["127.0.0.0", "127.255.255.255"],
  ["168.63.129.16", "168.63.129.16"],
  ["169.254.0.0", "169.254.255.255"],
  ["172.16.0.0", "172.31.255.255"],
  ["192.0.0.0", "192.0.0.255"],
  ["192.0.2.0", "192.0.2.255"],
  ["192.88.99.0", "192.88.99.255"],
  ["192.168.0.0", "192.168.255.255"],
  ["198.18.0.0", "198.19.255.255"],
  ["198.51.100.0", "198.51.100.255"],
  ["203.0.113.0", "203.0.113.255"],
  ["224.0.0.0", "255.255.255.255"],
];
const numberOf = (text: string): number => text.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
const textOf = (value: number): string => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
const hexOf = (value: number): string => `${Math.floor(value / 65_536).toString(16)}:${(value % 65_536).toString(16)}`;
const isSpecial = (value: number): boolean =>
  RANGES.some(([first, last]) => value >= numberOf(first) && value <= numberOf(last));

const anyIpv4 = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  // Around the edges, where mistakes are.
  fc
    .tuple(fc.constantFrom(...RANGES.flat().map(numberOf)), fc.integer({ min: -2, max: 2 }))
    .map(([edge, by]) => Math.min(2 ** 32 - 1, Math.max(0, edge + by))),
);

describe("the check of addresses", () => {
  it("judges an IPv4 address alike in each of its spellings", () => {
    fc.assert(
      fc.property(anyIpv4, (value) => {
        const spellings = [
          textOf(value),
          `::ffff:${textOf(value)}`,
          `::ffff:${hexOf(value)}`,
          `0:0:0:0:0:ffff:${hexOf(value)}`,
          `::FFFF:${hexOf(value).toUpperCase()}`,
          `64:ff9b::${textOf(value)}`,
          `64:ff9b::${hexOf(value)}`,
        ];
        expect(spellings.map(check.isAllowed)).toEqual(spellings.map(() => !isSpecial(value)));
      }),
      { numRuns: 5000 },
    );
  });

  it("lets no IPv6 address pass that is not global unicast", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }), (groups) => {
        const [first = 0, second = 0] = groups;
        const isGlobal = first >= 0x2000 && first <= 0x3fff;
        const isExcluded =
          (first === 0x2001 && (second < 0x200 || second === 0xdb8)) ||
          first === 0x2002 ||
          (first === 0x3fff && second < 0x1000);
        const text = groups.map((group) => group.toString(16)).join(":");
        const isNat64 = text.startsWith("64:ff9b:0:0:0:0:");
        fc.pre(!isNat64 && !text.startsWith("0:0:0:0:0:ffff:"));
        expect(check.isAllowed(text)).toBe(isGlobal && !isExcluded);
      }),
      { numRuns: 5000 },
    );
  });

  it("opens exactly the addresses of a block that is named", () => {
    fc.assert(
      fc.property(anyIpv4, fc.integer({ min: 8, max: 32 }), anyIpv4, (base, prefix, other) => {
        const size = 2 ** (32 - prefix);
        const first = Math.floor(base / size) * size;
        const { isAllowed } = createAddressCheck([`${textOf(first)}/${prefix}`]);
        const isInside = (value: number): boolean => value >= first && value < first + size;
        const values = [first, first + size - 1, Math.min(first + size, 2 ** 32 - 1), Math.max(first - 1, 0), other];
        expect(values.map((value) => isAllowed(textOf(value)))).toEqual(
          values.map((value) => isInside(value) || !isSpecial(value)),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it("takes a block only from its first address on", () => {
    fc.assert(
      fc.property(anyIpv4, fc.integer({ min: 0, max: 40 }), (base, prefix) => {
        const isAligned = base % 2 ** (32 - prefix) === 0;
        expect(isCidr(`${textOf(base)}/${prefix}`)).toBe(prefix >= 8 && prefix <= 32 && isAligned);
      }),
    );
  });

  it("refuses every text that is no address, and never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from("0123456789abcdefx.:%[]/ \0")) }), (text) => {
        expect([true, false]).toContain(check.isAllowed(text));
        if (!/[.:]/.test(text)) expect(check.isAllowed(text)).toBe(false);
      }),
    );
  });
});
