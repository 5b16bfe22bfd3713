// The scrubber against a second reading of the same rule, made of regular expressions tried at every place: for any
// secret, any spelling of it, any bytes around it and any chunks.

import { finished } from "node:stream/promises";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { createScrubber } from "../../src/gateway/scrub.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const classOf = (bytes: string): string =>
  `[${Array.from(bytes)
    .map((one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .join("")}]`;
const hexOf = (value: number, width: number): string => value.toString(16).padStart(width, "0");
const anyCase = (digits: string): string => digits.replace(/[a-f]/g, (one) => `[${one}${one.toUpperCase()}]`);
const SHORT: Record<string, string> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  "\b": "b",
  "\f": "f",
  "\n": "n",
  "\r": "r",
  "\t": "t",
};

/** One character of a text, in all the spellings that the rule names. */
function spell(character: string, percent: boolean, json: boolean, twins: string): string {
  const both = twins === "" ? [character] : twins.split("");
  const options = both.flatMap((one) => {
    const bytes = [...Buffer.from(one)].map((byte) => {
      const asItIs = (byte === 0x25 && percent) || (byte === 0x5c && json) ? [] : [classOf(String.fromCharCode(byte))];
      return `(?:${[...asItIs, ...(percent ? [`%${anyCase(hexOf(byte, 2))}`] : [])].join("|")})`;
    });
    const units = Array.from({ length: one.length }, (_, i) => `\\\\u${anyCase(hexOf(one.charCodeAt(i), 4))}`);
    const short = SHORT[one];
    return [
      bytes.join(""),
      ...(json ? [units.join("")] : []),
      ...(json && short !== undefined ? [`\\\\${classOf(short)}`] : []),
      ...(percent && one === " " ? ["\\+"] : []),
    ].filter((option) => option !== "(?:)");
  });
  return `(?:${[...new Set(options)].join("|")})`;
}

/** Encoders break base64 and hexadecimal into lines. */
function lineBefore(i: number): string {
  return i === 0 ? "" : String.raw`(?:[\r\n]|\\[rn]|\\u000[aAdD]){0,2}`;
}

function naiveForms(secret: string): readonly RegExp[] {
  const bytes = Buffer.from(secret);
  const spellings = [true, false].flatMap((percent) => [true, false].map((json) => [percent, json] as const));
  const cores = [0, 1, 2].map((before) => {
    // What stays the same whatever stands before and after it.
    const [one, other] = [0, 255].map((fill) =>
      Buffer.concat([Buffer.alloc(before, fill), bytes, Buffer.alloc(2, fill)]).toString("base64"),
    );
    const all = Array.from(one ?? "").slice(0, Math.ceil((8 * (before + bytes.length)) / 6));
    return all.filter((character, i) => character === other?.[i]).join("");
  });
  const base64Twins = (character: string): string => (character === "+" ? "+-" : character === "/" ? "/_" : "");
  const hexTwins = (character: string): string => character.toLowerCase() + character.toUpperCase();
  return [
    ...(bytes.length < 6
      ? []
      : spellings.map(([percent, json]) =>
          Array.from(secret)
            .map((one) => spell(one, percent, json, ""))
            .join(""),
        )),
    ...cores.map((core) =>
      core.length < 6
        ? "(?!)"
        : Array.from(core)
            .map((one, i) => lineBefore(i) + spell(one, true, true, base64Twins(one)))
            .join(""),
    ),
    bytes.length < 3
      ? "(?!)"
      : Array.from(bytes.toString("hex"))
          .map((one, i) => lineBefore(i) + spell(one, true, true, hexTwins(one)))
          .join(""),
  ].map((source) => new RegExp(source, "y"));
}

function naiveScrub(secret: string, input: Uint8Array): string {
  const text = latin1(input);
  const blotted = Array.from(text);
  for (const form of naiveForms(secret)) {
    for (let start = 0; start < text.length; start++) {
      form.lastIndex = start;
      const length = form.exec(text)?.[0].length ?? 0;
      blotted.fill("*", start, start + length);
    }
  }
  return blotted.join("");
}

async function scrub(
  secret: string,
  chunks: readonly Uint8Array[],
): Promise<{ readonly text: string; readonly found: number }> {
  const scrubber = createScrubber(new Secret(Buffer.from(secret)));
  const stream = scrubber.stream();
  const passed: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => passed.push(chunk));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await finished(stream);
  return { text: latin1(Buffer.concat(passed)), found: scrubber.found };
}

function split(bytes: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

// Without `*`: what is blotted out could then be read as the secret again.
const characters = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...Array.from("abAB019_-")) },
  { weight: 3, arbitrary: fc.constantFrom(...Array.from('%\\/+" =&u\n')) },
  { weight: 1, arbitrary: fc.constantFrom("é", "€", "😀", "\u0001", "ÿ") },
);
const secrets = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: characters, minLength: 1, maxLength: 24 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("a", "ab", "%4", "\\u0", "aab"), fc.integer({ min: 3, max: 9 }))
      .map(([text, times]) => text.repeat(times)),
  },
);

/** Each character by itself in one of the ways of one kind. */
const mixed = (secret: string, seeds: readonly number[], ways: readonly ((one: string) => string)[]): string =>
  Array.from(secret)
    .map((one, i) => ways[(seeds[i % seeds.length] ?? 0) % ways.length]?.(one) ?? one)
    .join("");
const percentAll = (one: string): string => [...Buffer.from(one)].map((byte) => `%${hexOf(byte, 2)}`).join("");
const unicode = (one: string): string =>
  Array.from({ length: one.length }, (_, i) => `\\u${hexOf(one.charCodeAt(i), 4)}`).join("");
const json = (one: string): string => JSON.stringify(one).slice(1, -1);

type Encoder = (secret: string, seeds: readonly number[]) => string;
const encoders: readonly Encoder[] = [
  (secret) => secret,
  (secret) => encodeURIComponent(secret),
  (secret) => encodeURIComponent(secret).toLowerCase(),
  (secret) => new URLSearchParams([["k", secret]]).toString(),
  (secret) => percentAll(secret).toUpperCase(),
  (secret, seeds) => mixed(secret, seeds, [encodeURIComponent, percentAll, (one) => percentAll(one).toUpperCase()]),
  (secret) => JSON.stringify(secret),
  (secret) => JSON.stringify({ key: secret }).replaceAll("/", "\\/"),
  (secret) => mixed(secret, [0], [unicode]),
  (secret, seeds) =>
    mixed(secret, seeds, [json, unicode, (one) => unicode(one).replace(/[a-f]/g, (d) => d.toUpperCase())]),
  (secret, seeds) => `Basic ${Buffer.from("user-name".slice(0, seeds[0]) + ":" + secret).toString("base64")}`,
  (secret, seeds) => Buffer.from("xyz".slice(0, seeds[0]) + secret + "tail").toString("base64url"),
  (secret) => JSON.stringify(Buffer.from(secret).toString("base64")).replaceAll("/", "\\/"),
  (secret) => encodeURIComponent(Buffer.from(secret).toString("base64")),
  (secret) => Buffer.from(secret).toString("hex"),
  (secret, seeds) => mixed(Buffer.from(secret).toString("hex"), seeds, [(one) => one, (one) => one.toUpperCase()]),
];

const pieces = fc.array(
  fc.record({
    encoder: fc.constantFrom(...encoders),
    seeds: fc.array(fc.nat(9), { minLength: 1, maxLength: 5 }),
    /** Whole, without its end, or without its beginning. */
    part: fc.constantFrom("whole", "whole", "whole", "head", "tail"),
    after: fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc
        .constantFrom("%", "\\", "%4", "%6", "\\u", "\\u00", "\\ud83d", "%%", "\\\\", "=", '"', "")
        .map((text) => Buffer.from(text)),
    ),
  }),
  { minLength: 1, maxLength: 6 },
);

describe("the scrubber", () => {
  it("blots out exactly what the rule names, and keeps every other byte, however the answer is cut", async () => {
    let [found, whole] = [0, 0];
    await fc.assert(
      fc.asyncProperty(secrets, pieces, fc.array(fc.nat(500), { maxLength: 12 }), async (secret, parts, cuts) => {
        const bytes = Buffer.concat(
          parts.flatMap(({ encoder, seeds, part, after }) => {
            const written = Buffer.from(encoder(secret, seeds));
            const half = Math.ceil(written.length / 2);
            return [
              part === "head" ? written.subarray(0, half) : part === "tail" ? written.subarray(half) : written,
              after,
            ];
          }),
        );
        const before = Buffer.from(bytes);
        const scrubbed = await scrub(secret, split(bytes, cuts));
        expect(scrubbed.text).toBe(naiveScrub(secret, bytes));
        expect(scrubbed.found > 0).toBe(scrubbed.text !== latin1(bytes));
        // What came in belongs to somebody else.
        expect(bytes.equals(before)).toBe(true);
        // A body that is there as a whole loses the same, every time.
        const scrubber = createScrubber(new Secret(Buffer.from(secret)));
        expect(latin1(scrubber.whole(bytes))).toBe(scrubbed.text);
        const once = scrubber.found;
        expect(once > 0).toBe(scrubbed.found > 0);
        expect(latin1(scrubber.whole(bytes))).toBe(scrubbed.text);
        expect(scrubber.found).toBe(2 * once);
        // Nothing is left to find.
        const again = await scrub(secret, [Buffer.from(scrubbed.text, "latin1")]);
        expect(again).toEqual({ text: scrubbed.text, found: 0 });
        whole += parts.filter(({ part }) => part === "whole").length;
        found += scrubbed.found;
      }),
      { numRuns: IS_WHOLE ? 3000 : 1000 },
    );
    expect(found).toBeGreaterThan(whole / 2);
  });

  it("finds a secret of any bytes as it is, in base64 and in hexadecimal, after every byte", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 6, maxLength: 64 }), fc.nat(5), async (secret, before) => {
        fc.pre(!secret.includes(0x2a));
        const scrubber = createScrubber(new Secret(secret));
        const written = Buffer.concat([Buffer.alloc(before, "u"), secret]);
        const texts = [
          latin1(written),
          written.toString("base64"),
          written.toString("base64url"),
          written.toString("hex"),
        ];
        for (const [i, text] of texts.entries()) {
          const scrubbed = scrubber.text(text);
          expect(scrubbed).toHaveLength(text.length);
          expect(scrubber.found).toBeGreaterThan(i);
        }
      }),
    );
  });

  it("gives the same however the answer is cut: in two at any place, or byte by byte", async () => {
    const secret = 'p%41\\u0/"key+😀';
    const text = encoders.map((encode) => encode(secret, [1, 2])).join(" ");
    const bytes = Buffer.from(text);
    const expected = naiveScrub(secret, bytes);
    expect(
      await scrub(
        secret,
        [...bytes].map((byte) => Buffer.of(byte)),
      ),
    ).toEqual({ text: expected, found: encoders.length });
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect((await scrub(secret, [bytes.subarray(0, cut), bytes.subarray(cut)])).text, `cut at ${cut}`).toBe(expected);
    }
  });
});
