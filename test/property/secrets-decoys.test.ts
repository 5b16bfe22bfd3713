// Whatever stands around a decoy, it is found; whatever is sent without one, nothing is; and no text makes a search throw.

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { CANARY_KINDS, type CanaryKind } from "../../src/api/secrets.ts";
import { findCandidates, readings } from "../../src/secrets/decoy-shapes.ts";
import { openDecoys } from "../support/opened-decoys.ts";

type Planted = Awaited<ReturnType<Awaited<ReturnType<typeof openDecoys>>["plant"]>>;

const KINDS = fc.constantFrom<CanaryKind>(...CANARY_KINDS);
/** Text that is made of what the shapes are made of. */
const NEAR = fc
  .array(
    fc.oneof(
      fc.constantFrom("ghp_", "sk_live_51", "AKIA", "Basic ", "basic", "%", "\\u", "\\u00", "\\", "-", "_", " ", "="),
      fc.uuid({ version: 4 }),
      fc.stringMatching(/^[A-Za-z0-9]{1,110}$/),
      fc.string({ unit: "binary", maxLength: 8 }),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(""));
/** What can follow or precede a key without being part of one, or of an escape that eats it. */
const APART = NEAR.map((text) => `${text}\n`);

describe("a search for decoys", () => {
  let opened: Awaited<ReturnType<typeof openDecoys>>;
  const planted = new Map<CanaryKind, Planted>();

  beforeAll(async () => {
    opened = await openDecoys();
    for (const like of CANARY_KINDS) planted.set(like, await opened.plant(like));
  });
  const plantedOf = (like: CanaryKind): Planted => {
    const found = planted.get(like);
    if (found === undefined) throw new Error("none of this kind was planted");
    return found;
  };

  it("finds one, whatever stands before and after it", () => {
    fc.assert(
      fc.property(KINDS, APART, NEAR, (like, before, after) => {
        const { canary, key } = plantedOf(like);
        expect(opened.findIn(`${before}${key}${after}`)?.canary).toBe(canary.id);
      }),
      { numRuns: 2000 },
    );
  });

  it("finds one of which any letters are percent-encoded or escaped", () => {
    const how = fc.array(fc.constantFrom("plain", "percent", "escape"), { minLength: 110, maxLength: 110 });
    fc.assert(
      fc.property(KINDS, how, (like, ways) => {
        const { canary, key } = plantedOf(like);
        const text = Array.from(key, (letter, i) => {
          const hex = letter.charCodeAt(0).toString(16).padStart(2, "0");
          if (ways[i] === "percent") return `%${hex}`;
          return ways[i] === "escape" ? `\\u00${hex.toUpperCase()}` : letter;
        });
        expect(opened.findIn(text.join(""))?.canary).toBe(canary.id);
      }),
      { numRuns: 1000 },
    );
  });

  it("finds one as any part of Basic credentials", () => {
    fc.assert(
      fc.property(KINDS, APART, NEAR, (like, before, after) => {
        const { canary, key } = plantedOf(like);
        const encoded = Buffer.from(`${before}${key}${after}`).toString("base64");
        expect(opened.findIn(`Basic ${encoded}`)?.canary).toBe(canary.id);
      }),
      { numRuns: 1000 },
    );
  });

  it("finds nothing where no decoy is, and throws at nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(NEAR, NEAR), { maxLength: 5 }), (texts) => {
        expect(opened.decoys.find(texts)).toBeNull();
      }),
      { numRuns: 2000 },
    );
  });

  it("sees every candidate, as a search by hand at each place does", () => {
    const forms = { railway: 36, github: 40, stripe: 107, aws: 20 };
    fc.assert(
      fc.property(KINDS, NEAR, (like, text) => {
        const length = forms[like];
        const byHand = Array.from({ length: text.length }, (_, i) => text.slice(i, i + length)).flatMap((piece) => {
          return piece.length === length ? [...findCandidates(like, piece)] : [];
        });
        expect([...findCandidates(like, text)]).toEqual(byHand);
      }),
      { numRuns: 2000 },
    );
  });

  it("reads a text as it is first, and in few ways", () => {
    fc.assert(
      fc.property(NEAR, (text) => {
        const all = [...readings(text)];
        expect(all[0]).toBe(text);
        expect(all.length).toBeLessThanOrEqual(3);
        for (const reading of all) expect(reading.length).toBeLessThanOrEqual(text.length);
      }),
      { numRuns: 1000 },
    );
  });
});
