// What is signed is what is read, whatever it says; nothing that was changed afterwards verifies; and of any bytes at all
// comes a statement or a refusal.

import { ASN1Obj } from "@sigstore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AttestationRequest } from "../../src/api/holds.ts";
import { makeKeyPair, publicMembers } from "../../src/cli/key-pair.ts";
import { BrokerError } from "../../src/core/errors.ts";
import { parseStatement, verifyEnvelope } from "../../src/holds/statement.ts";
import { type BackupStatement, signStatement } from "../../src/sdk/sign-statement.ts";
import { createKeySigner, type Signer } from "../../src/sdk/signer.ts";
import { makeAgent } from "../support/scope-set-fixture.ts";

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/);
const value = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/);
const date = fc
  .integer({ min: Date.parse("2000-01-01T00:00:00Z"), max: Date.parse("2100-01-01T00:00:00Z") })
  .map((ms) => new Date(ms));
const subject = fc.record({
  resource: fc.stringMatching(/^[a-z]{1,9}:[A-Za-z0-9_@~+=-]{1,40}(\/[A-Za-z0-9_-]{1,20}){0,3}$/),
  sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
});
const statement: fc.Arbitrary<BackupStatement> = fc.record(
  {
    subjects: fc.uniqueArray(subject, { selector: ({ resource }) => resource, minLength: 1, maxLength: 32 }),
    // Names that are numbers are put in order by every object; `constructor` is there in each.
    location: fc.dictionary(fc.oneof(name, fc.constantFrom("10", "9", "constructor")), value, {
      minKeys: 1,
      maxKeys: 16,
      noNullPrototype: true,
    }),
    takenAt: date,
    sizeBytes: fc.maxSafeNat(),
    restoreTestedAt: date,
  },
  { requiredKeys: ["subjects", "location", "takenAt"] },
);

const caller = (algorithm: "ES256" | "EdDSA") => {
  const pair = makeKeyPair("backup-1", algorithm);
  const agent = { ...makeAgent("backup-1", {}), keys: [publicMembers(pair)] };
  return { signer: createKeySigner({ ...pair }), agent };
};
const callers = { ES256: caller("ES256"), EdDSA: caller("EdDSA") };

async function outcomeOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return "accepted";
  } catch (thrown) {
    if (thrown instanceof BrokerError) return thrown.code;
    throw thrown;
  }
}

describe("a signed statement", () => {
  it.each(["ES256", "EdDSA"] as const)("by %s is read as it was meant, whatever it says", async (algorithm) => {
    const { signer, agent } = callers[algorithm];
    await fc.assert(
      fc.asyncProperty(statement, async (backup) => {
        const { payload } = await verifyEnvelope(await signStatement(signer, backup), agent);
        expect(parseStatement(payload)).toEqual({
          subjects: backup.subjects,
          location: backup.location,
          takenAt: backup.takenAt.getTime(),
          sizeBytes: backup.sizeBytes ?? null,
          restoreTestedAt: backup.restoreTestedAt?.getTime() ?? null,
        });
      }),
    );
  });

  it.each(["ES256", "EdDSA"] as const)(
    "by %s with any character changed, added or dropped is refused",
    async (algorithm) => {
      const { signer, agent } = callers[algorithm];
      const [backup] = fc.sample(statement, 1);
      const good = await signStatement(signer, backup ?? expect.fail("there is one sample"));
      expect(await outcomeOf(() => verifyEnvelope(good, agent))).toBe("accepted");
      const character = fc.constantFrom(..."ABCabc019+/=-_ \n".split(""), "");
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom("payload", "sig"),
          fc.double({ min: 0, max: 0.999, noNaN: true }),
          character,
          fc.boolean(),
          async (part, place, other, adds) => {
            const [first] = good.signatures;
            const text = (part === "payload" ? good.payload : first?.sig) ?? "";
            const at = Math.floor(place * text.length);
            const changed = text.slice(0, at) + other + text.slice(adds ? at : at + 1);
            fc.pre(changed !== text);
            const envelope: AttestationRequest =
              part === "payload"
                ? { ...good, payload: changed }
                : { ...good, signatures: [{ ...first, sig: changed }] };
            expect(await outcomeOf(() => verifyEnvelope(envelope, agent))).toBe("attestation_invalid");
          },
        ),
        { numRuns: 1500 },
      );
    },
  );

  it("by ECDSA is in the shortest ASN.1, for any two numbers", async () => {
    const number = fc
      .tuple(fc.nat(32), fc.uint8Array({ minLength: 32, maxLength: 32 }))
      .map(([zeros, bytes]) => bytes.fill(0, 0, zeros));
    await fc.assert(
      fc.asyncProperty(number, number, async (r, s) => {
        const signer: Signer = { ...callers.ES256.signer, sign: () => Promise.resolve(Buffer.concat([r, s])) };
        const { signatures } = await signStatement(signer, { subjects: [], location: {}, takenAt: new Date(0) });
        const der = Buffer.from(signatures[0]?.sig ?? "", "base64");
        const numbers = ASN1Obj.parseBuffer(der).subs;
        expect(numbers.map((each) => each.value.toString("hex"))).toEqual([r, s].map(shortestOf));
        expect(der.length).toBe(numbers.reduce((length, each) => length + 2 + each.value.length, 2));
      }),
    );
  });
});

/** By arithmetic, not by bytes. */
function shortestOf(bytes: Uint8Array): string {
  const digits = BigInt(`0x${Buffer.from(bytes).toString("hex")}`).toString(16);
  const even = digits.length % 2 === 0 ? digits : `0${digits}`;
  return even >= "8" ? `00${even}` : even;
}

describe("of any bytes", () => {
  const parts = fc.constantFrom<unknown>(
    "https://in-toto.io/Statement/v1",
    "urn:valetkey:backup:v1",
    "2026-11-22T03:00:00Z",
    { account: "x" },
    [{ name: "shop:volume/vol_1", digest: { sha256: "ab".repeat(32) } }],
  );
  const odd = fc.oneof(parts, fc.jsonValue(), fc.constant(undefined));
  const nearly = fc.record({
    _type: fc.oneof(fc.constant("https://in-toto.io/Statement/v1"), odd),
    subject: odd,
    predicateType: fc.oneof(fc.constant("urn:valetkey:backup:v1"), odd),
    predicate: fc.oneof(fc.record({ location: odd, takenAt: odd, sizeBytes: odd, restoreTestedAt: odd }), odd),
  });

  it("comes a statement or a refusal, and the same text always means the same", async () => {
    const bytes = fc.oneof(
      nearly.map((each) => Buffer.from(JSON.stringify(each))),
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each)),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (payload) => {
        const outcome = await outcomeOf(() => parseStatement(payload));
        expect(["accepted", "attestation_invalid"]).toContain(outcome);
        if (outcome === "accepted") expect(JSON.stringify(JSON.parse(payload.toString()))).toBe(payload.toString());
      }),
      { numRuns: 2000 },
    );
  });
});
