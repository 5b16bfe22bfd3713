// A proof with any one character changed never verifies, and nothing but a BrokerError ever comes out.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { verifyProof } from "../../src/identity/proof.ts";
import {
  goodClaims,
  goodHeader,
  ISSUER,
  makeCallerKey,
  makePrincipals,
  makeProof,
  NOW,
} from "../support/made-proof.ts";

const ec = makeCallerKey("ES256");
const ed = makeCallerKey("EdDSA");
const scopes = makePrincipals({ coder: [ec, ed] });

async function outcomeOf(proof: string): Promise<string> {
  try {
    return (await verifyProof(proof, ISSUER, scopes, [NOW])).principal.name;
  } catch (thrown) {
    if (thrown instanceof BrokerError) return thrown.code;
    throw thrown;
  }
}

describe("a proof", () => {
  it.each([["ES256", ec] as const, ["EdDSA", ed] as const])(
    "by %s with any one character changed, added or dropped never verifies",
    async (_name, key) => {
      const proof = makeProof(key);
      expect(await outcomeOf(proof)).toBe("coder");
      const character = fc.oneof(
        fc.constantFrom(..."ABCabc019-_.=+/ \n".split("")),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      );
      await fc.assert(
        fc.asyncProperty(
          fc.nat(proof.length - 1),
          character,
          fc.constantFrom("change", "add", "drop"),
          async (position, other, how) => {
            const rest = proof.slice(how === "add" ? position : position + 1);
            const changed = proof.slice(0, position) + (how === "drop" ? "" : other) + rest;
            fc.pre(changed !== proof);
            expect(await outcomeOf(changed)).toMatch(/^proof_(invalid|expired)$/);
          },
        ),
        { numRuns: 1500 },
      );
    },
  );

  it("of any header and claims is the caller's own, in time, for us alone, or refused", async () => {
    const odd = fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(ISSUER, "coder", "ES256", "JWT", undefined));
    const time = fc.integer({ min: -400, max: 400 }).map((seconds) => NOW / 1000 + seconds);
    const field = fc.oneof(
      fc.tuple(fc.constantFrom("alg", "typ", "kid", "iss", "sub", "aud", "jti", "iat", "exp", "nbf"), odd),
      fc.tuple(fc.constantFrom("iat", "exp", "nbf"), time),
    );
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(field, { maxLength: 3 }), async (fields) => {
        const { alg, typ, kid, ...claims } = Object.fromEntries(fields);
        const header = Object.fromEntries(
          Object.entries({ ...goodHeader(), alg, typ, kid }).filter(([, value]) => value !== undefined),
        );
        const merged: Record<string, unknown> = { ...goodClaims(), ...claims };
        const outcome = await outcomeOf(makeProof(ec, { header: { ...goodHeader(), ...header }, claims: merged }));
        if (outcome !== "coder") return;
        accepted++;
        expect(merged).toMatchObject({ iss: "coder", sub: "coder", aud: ISSUER });
        const { iat, exp } = merged;
        expect(Number(exp) * 1000 + 30_000).toBeGreaterThan(NOW);
        expect(Number(exp) - Number(iat)).toBeLessThanOrEqual(300);
        expect(Number(iat) * 1000).toBeLessThanOrEqual(NOW + 30_000);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it("that is any text at all is refused with a code", async () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.base64String(), { maxLength: 5 }).map((parts) => parts.join(".")),
    );
    await fc.assert(
      fc.asyncProperty(text, async (any) => {
        expect(await outcomeOf(any)).toBe("proof_invalid");
      }),
      { numRuns: 1000 },
    );
  });
});
