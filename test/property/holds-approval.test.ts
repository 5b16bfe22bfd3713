// Signatures on holds: one spelling each, good for exactly one person, hold, request and decision, and good again at firing
// only while everything that made it good is so.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseApproval } from "../../src/core/approval.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { BrokerError } from "../../src/core/errors.ts";
import type { ApprovalClaims } from "../../src/core/hold-document.ts";
import { drawRandomPart, instantOf, makeId } from "../../src/core/ids.ts";
import { thumbprint } from "../../src/core/thumbprint.ts";
import { type ExpectedApproval, signatureStillCounts, verifyApproval } from "../../src/holds/verify-approval.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { makeCallerKey, privateJwkOf } from "../support/made-proof.ts";
import {
  approvalClaims,
  approvalHeader,
  DIGEST,
  expected,
  HOLD,
  makeOwnedAgent,
  makePerson,
  makePolicy,
  makeSignature,
  makeStoredApproval,
  makeStoredHold,
  SIGNED_AT,
} from "../support/made-signature.ts";

const ec = makeCallerKey("ES256");
const ed = makeCallerKey("EdDSA");
const dba = makePerson("dba-1", [ec, ed]);

async function outcomeOf(jws: string, wanted: ExpectedApproval): Promise<string> {
  try {
    return (await verifyApproval(jws, wanted)).key;
  } catch (thrown) {
    if (thrown instanceof BrokerError) return thrown.code;
    throw thrown;
  }
}

const anyInstant = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
const anyClaims: fc.Arbitrary<ApprovalClaims> = fc.record({
  hold: anyInstant.map((at) => makeId("hld", at, drawRandomPart())),
  digest: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex")),
  decision: fc.constantFrom("approve", "deny"),
  at: anyInstant.map(toTimestamp),
});

describe("a signature on a hold", () => {
  it.each([["ES256", ec] as const, ["EdDSA", ed] as const])(
    "by %s is what it was made of, and verifies by the key that made it alone",
    async (_name, key) => {
      const signer = createKeySigner(privateJwkOf(key));
      await fc.assert(
        fc.asyncProperty(anyClaims, async (claims) => {
          const jws = await signApproval(signer, claims);
          expect(parseApproval(jws)).toMatchObject({ claims, at: Date.parse(claims.at), kid: signer.kid });
          const { hold, digest, decision } = claims;
          const at = Date.parse(claims.at);
          const wanted = expected(dba, { hold, digest, decision, requestedAt: at, now: at });
          expect(await outcomeOf(jws, wanted)).toBe(thumbprint(key.publicJwk));
          const others = makePerson("dba-2", [key === ec ? ed : ec, makeCallerKey(key.algorithm)]);
          expect(await outcomeOf(jws, { ...wanted, person: others })).toBe("approval_invalid");
        }),
        { numRuns: 200 },
      );
    },
  );

  it.each([["ES256", ec] as const, ["EdDSA", ed] as const])(
    "by %s with any one character changed, added or dropped is refused",
    async (_name, key) => {
      const jws = makeSignature(key);
      expect(await outcomeOf(jws, expected(dba))).toBe(thumbprint(key.publicJwk));
      const character = fc.oneof(
        fc.constantFrom(..."ABCabc019-_.=+/ \n".split("")),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      );
      await fc.assert(
        fc.asyncProperty(
          fc.nat(jws.length - 1),
          character,
          fc.constantFrom("change", "add", "drop"),
          async (position, other, how) => {
            const rest = jws.slice(how === "add" ? position : position + 1);
            const changed = jws.slice(0, position) + (how === "drop" ? "" : other) + rest;
            fc.pre(changed !== jws);
            expect(await outcomeOf(changed, expected(dba))).toBe("approval_invalid");
          },
        ),
        { numRuns: 1500 },
      );
    },
  );

  it("of any header and claims is for exactly this hold, digest and decision, in time, or refused", async () => {
    const odd = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(HOLD, DIGEST, "approve", "deny", "ES256", "EdDSA", thumbprint(ec.publicJwk)),
    );
    const time = fc
      .oneof(fc.integer({ min: -700_000, max: 100_000 }), fc.integer({ min: -4_000_000, max: 0 }))
      .map((ms) => toTimestamp(SIGNED_AT + ms));
    const field = fc.oneof(
      fc.tuple(fc.constantFrom("alg", "typ", "kid", "hold", "digest", "decision", "at", "x"), odd),
      fc.tuple(fc.constant("at"), time),
    );
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(field, { maxLength: 2 }), async (fields) => {
        const { alg, typ, kid, ...claims } = Object.fromEntries(fields);
        const change = Object.entries({ alg, typ, kid }).filter(([, value]) => value !== undefined);
        const header = { ...approvalHeader(ec), ...Object.fromEntries(change) };
        const merged = approvalClaims(claims);
        const wanted = expected(dba);
        if ((await outcomeOf(makeSignature(ec, { header, claims: merged }), wanted)) === "approval_invalid") return;
        accepted++;
        const { at, ...rest } = merged;
        expect(rest).toEqual({ hold: HOLD, digest: DIGEST, decision: "approve" });
        const signed = Date.parse(String(at));
        expect(toTimestamp(signed)).toBe(at);
        expect(signed).toBeGreaterThanOrEqual(wanted.now - 600_000);
        expect(signed).toBeLessThanOrEqual(wanted.now + 30_000);
        expect(header).toMatchObject(approvalHeader(ec));
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it("is in time from 30 s before the request and of the last ten minutes, to the millisecond", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -60_000, max: 60_000 }),
        fc.constantFrom("requestedAt", "oldest", "future"),
        async (ms, edge) => {
          const now = SIGNED_AT;
          const requestedAt = edge === "requestedAt" ? SIGNED_AT + ms : instantOf(HOLD);
          const at = edge === "requestedAt" ? now : edge === "oldest" ? now - 600_000 + ms : now + ms;
          const jws = makeSignature(ec, { claims: approvalClaims({ at: toTimestamp(at) }) });
          const isGood = edge === "oldest" ? ms >= 0 : ms <= 30_000;
          const outcome = await outcomeOf(jws, expected(dba, { requestedAt, now }));
          expect(outcome).toBe(isGood ? thumbprint(ec.publicJwk) : "approval_invalid");
        },
      ),
      {
        numRuns: 500,
        examples: [
          [30_000, "future"],
          [30_001, "future"],
          [0, "oldest"],
          [-1, "oldest"],
        ],
      },
    );
  });

  it("that is any text at all is refused with a code", async () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(fc.base64String(), { maxLength: 5 }).map((parts) => parts.join(".")),
    );
    await fc.assert(
      fc.asyncProperty(text, async (any) => {
        expect(await outcomeOf(any, expected(dba))).toBe("approval_invalid");
      }),
      { numRuns: 1000 },
    );
  });
});

describe("at firing a signature", () => {
  const hold = makeStoredHold([dba]);
  const approval = makeStoredApproval(dba, ec, makeSignature(ec));
  const policy = makePolicy(dba, makeOwnedAgent("coder", "lead-1"));
  const again = makeCallerKey();
  const renewed = makePerson("dba-1", [ed, again]);
  const asAgent = makeOwnedAgent("dba-1", null);
  const over = (change: Readonly<Record<string, string>>) => makeSignature(ec, { claims: approvalClaims(change) });
  const other = makeId("hld", SIGNED_AT, "1".repeat(16));

  type Case = readonly [typeof approval, typeof hold, typeof policy];
  const spoilt: Readonly<Record<string, (good: Case) => Case>> = {
    "the person is gone": ([a, h]) => [a, h, makePolicy(makeOwnedAgent("coder", "lead-1"))],
    "the name is an agent's": ([a, h]) => [a, h, makePolicy(asAgent)],
    "the power was taken": ([a, h]) => [
      a,
      h,
      makePolicy({ ...dba, powers: new Set(["revoke", "audit", "administer"]) }),
    ],
    "the key was removed": ([a, h]) => [a, h, makePolicy(makePerson("dba-1", [ed]))],
    "the key came after the request": ([, h]) => [
      makeStoredApproval(renewed, again, makeSignature(again)),
      h,
      makePolicy(renewed),
    ],
    "the person came after the request": ([a, , p]) => [a, makeStoredHold([]), p],
    "the key was another person's at the request": ([a, , p]) => [a, makeStoredHold([makePerson("dba-2", [ec])]), p],
    "the person owned the agent": ([a, , p]) => {
      const owned = makeStoredHold([dba], { agents: [{ name: "coder", owner: "dba-1" }] });
      return [{ ...a, signature: over({ digest: owned.digest }) }, owned, p];
    },
    "its document is another hold's": ([a, , p]) => {
      const stored = { ...makeStoredHold([dba], { hold: other }), id: HOLD };
      return [{ ...a, signature: over({ digest: stored.digest }) }, stored, p];
    },
    "it names another hold": ([a, h, p]) => [{ ...a, signature: over({ hold: other }) }, h, p],
    "it is over another digest": ([a, h, p]) => [{ ...a, signature: over({ digest: "0".repeat(64) }) }, h, p],
    "the person owns the agent today": ([a, h]) => [a, h, makePolicy(dba, makeOwnedAgent("coder", "dba-1"))],
    "another request stands under its digest": ([a, h, p]) => [
      a,
      { ...h, document: { ...h.document, task: "T-2" } },
      p,
    ],
    "the digest is another's": ([a, h, p]) => [a, { ...h, digest: "0".repeat(64) }, p],
    "it is kept with another decision": ([a, h, p]) => [{ ...a, decision: "deny" }, h, p],
    "it says deny": ([a, h, p]) => [{ ...a, signature: over({ decision: "deny" }) }, h, p],
    "it is another key's": ([a, h, p]) => [{ ...a, signature: makeSignature(ed) }, h, p],
    "it is kept under another key": ([a, h, p]) => [{ ...a, key: thumbprint(ed.publicJwk) }, h, p],
    "it is kept with another hold": ([a, h, p]) => [a, { ...h, id: other }, p],
    "it is no signature": ([a, h, p]) => [{ ...a, signature: "" }, h, p],
  };

  it("counts while nothing of that has changed, however old it is", async () => {
    expect(await signatureStillCounts(approval, hold, policy)).not.toBeNull();
    const old = makeSignature(ec, { claims: approvalClaims({ at: "2001-01-01T00:00:00.000Z" }) });
    expect(await signatureStillCounts({ ...approval, signature: old }, hold, policy)).not.toBeNull();
  });

  it("counts as of the team at signing, when the person has left it since", async () => {
    const moved = makePolicy(makePerson("dba-1", [ec], { teams: [] }));
    expect(await signatureStillCounts(approval, hold, moved)).not.toBeNull();
  });

  it.each(Object.keys(spoilt))("does not count where %s", async (what) => {
    const good: Case = [approval, hold, policy];
    expect(await signatureStillCounts(...(spoilt[what]?.(good) ?? good))).toBeNull();
  });
});
