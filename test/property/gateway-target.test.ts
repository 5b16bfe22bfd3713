// Request-targets of any making: what passes is what every reader makes the same of, and nothing else passes.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { parseTarget, type RequestTarget } from "../../src/gateway/request-target.ts";
import { createOperationIndex, parsePathTemplate } from "../../src/scopes/path-template.ts";
import type { HttpOperation } from "../../src/scopes/scope-set.ts";

/** Null where it is refused, as it must be: with that code. */
function read(raw: string): RequestTarget | null {
  try {
    return parseTarget(raw);
  } catch (error) {
    if (error instanceof BrokerError && error.code === "path_not_canonical") return null;
    throw error;
  }
}

function templateOf(text: string) {
  const template = parsePathTemplate(text);
  if ("problem" in template) throw new TypeError(template.problem);
  return template;
}

const ANY: HttpOperation = {
  name: "GET any",
  origin: "https://api.example.com",
  query: new Set(),
  headers: new Set(),
  body: "none",
  idempotent: false,
  meaning: { judge: () => ({ fault: "not asked" }), actions: [] },
};
const everyPath = createOperationIndex(
  ["/", "/{rest+}"].map((text) => ({ method: "GET", template: templateOf(text), operation: ANY })),
);

const hostile = fc.constantFrom(
  ..."aZ09-._~!$&'()*+,;=:@/?#[]\\%|{}<>\"^` \t\n\0\u007fé".split(""),
  "%2F",
  "%2f",
  "%2E",
  "%2e",
  "%41",
  "%20",
  "%00",
  "%0A",
  "%7F",
  "%5C",
  "%3B",
  "%25",
  "%252F",
  "%C3%A9",
  "%C3",
  "%E2%80%A8",
  "..",
  "/.",
  "//",
  "%EF%BC%8E",
  "%EF%BC%8F",
  "%C0%AE",
  "%ED%A0%80",
  "%C2%85",
  "a=b",
  "&",
  "%26",
  "%3D",
  "+",
  "a",
);
const mild = fc.constantFrom(
  ..."abcZ09-._~!$'()*+,=:@".split(""),
  "%20",
  "%2F",
  "%C3%A9",
  "%5B0%5D",
  "%26",
  "%3D",
  "%2B",
  "[",
  "]",
);

const targets = fc
  .tuple(
    fc.array(fc.oneof({ weight: 9, arbitrary: mild }, { weight: 1, arbitrary: hostile }, fc.constant("/")), {
      maxLength: 12,
    }),
    fc.option(
      fc.array(fc.oneof({ weight: 8, arbitrary: mild }, hostile, fc.constantFrom("&", "=")), { maxLength: 12 }),
    ),
  )
  .map(([path, query]) => `/${path.join("")}${query === null ? "" : `?${query.join("")}`}`);

describe("a request-target that passes", () => {
  it("is what a browser would send and read: nothing in it is left to normalise", () => {
    let passed = 0;
    fc.assert(
      fc.property(targets, (raw) => {
        const target = read(raw);
        if (target === null) return;
        passed++;
        const { path, query, rawQuery } = target;
        expect(path + (rawQuery === null ? "" : `?${rawQuery}`)).toBe(raw);
        const url = new URL(`https://api.example.com${raw}`);
        expect(url.pathname).toBe(path);
        // A browser encodes an apostrophe there, which no server reads otherwise for it.
        expect(url.search).toBe(rawQuery === null ? "" : `?${rawQuery.replaceAll("'", "%27")}`);
        expect(query).toEqual([...url.searchParams]);
        expect(new Set(url.searchParams.keys()).size).toBe(query.length);
      }),
      { numRuns: 20_000 },
    );
    expect(passed).toBeGreaterThan(3000);
  });

  it("has the paths that templates can match, and no others", () => {
    let passed = 0;
    fc.assert(
      fc.property(targets, (raw) => {
        const path = raw.split("?", 1)[0] ?? "";
        const target = read(path);
        if (target !== null) passed++;
        expect(everyPath.find("GET", path) !== null).toBe(target !== null);
      }),
      { numRuns: 20_000 },
    );
    expect(passed).toBeGreaterThan(3000);
  });

  it("takes any segments and parameters that a careful client encodes", () => {
    const plain = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
      .filter((text) => !/[\\;\p{Cc}%]/u.test(text));
    const segment = plain.filter(
      (text) => !/^\.{1,2}$|[\\;%/\p{Cc}]|^$/u.test(text.normalize("NFKC")) && !/^\.+$/.test(text.normalize("NFKC")),
    );
    const parameters = fc.uniqueArray(
      fc.tuple(
        plain,
        fc.string({ unit: "grapheme", maxLength: 30 }).filter((text) => !/\p{Cc}/u.test(text)),
      ),
      {
        selector: ([name]) => name,
        minLength: 1,
        maxLength: 10,
      },
    );
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), parameters, (segments, query) => {
        const path = `/${segments.map((one) => encodeURIComponent(one)).join("/")}`;
        // What it encodes beyond RFC 3986 (`~`) and its plus signs are a form's own way, and harmless in a query.
        const encodings = [
          new URLSearchParams(query.map(([name, value]): [string, string] => [name, value])).toString(),
          query.map((pair) => pair.map((one) => encodeURIComponent(one)).join("=")).join("&"),
          query
            .map((pair) =>
              pair.map((one) => encodeURIComponent(one).replace(/%../g, (code) => code.toLowerCase())).join("="),
            )
            .join("&"),
        ];
        for (const rawQuery of encodings) expect(parseTarget(`${path}?${rawQuery}`)).toEqual({ path, query, rawQuery });
      }),
    );
  });

  it("never has one name twice, however it is written", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(..."aB[]. +~é".split("")), minLength: 1, maxLength: 6 }),
        fc.nat(5),
        (name, between) => {
          const spellings = [
            encodeURIComponent(name),
            new URLSearchParams([[name, ""]]).toString().slice(0, -1),
            Array.from(Buffer.from(name), (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""),
          ];
          const others = Array.from({ length: between }, (_, i) => `other${i}=1&`).join("");
          for (const one of spellings) {
            for (const other of spellings) {
              expect(read(`/?${one}=1&${others}x=2`)).not.toBeNull();
              expect(read(`/?${one}=1&${others}${other}=2`)).toBeNull();
              expect(read(`/?${one}&${others}${other}=2`)).toBeNull();
            }
          }
        },
      ),
    );
  });
});
