// Proofs by the right key that say the wrong thing: times, audiences, names, jti, and JSON that can be read in two ways.

import { describe, expect, it } from "vitest";
import { verifyProof } from "../../src/identity/proof.ts";
import {
  goodClaims,
  ISSUER,
  makeCallerKey,
  makePrincipals,
  makeProof,
  NOW,
  NOW_SECONDS,
} from "../support/made-proof.ts";

const coder = makeCallerKey();
const scopes = makePrincipals({ coder: [coder], other: [makeCallerKey()] });

const verify = (proof: string, now = NOW, issuer = ISSUER) => verifyProof(proof, issuer, scopes, [now]);
const withClaims = (claims: Record<string, unknown>) => makeProof(coder, { claims: { ...goodClaims(), ...claims } });
const expectRefused = (proof: string, now = NOW) =>
  expect(verify(proof, now)).rejects.toMatchObject({ code: "proof_invalid" });

describe("times", () => {
  it("end with exp and 30 s of tolerance, to the millisecond, and the proof is remembered as long", async () => {
    const proof = withClaims({ iat: NOW_SECONDS, exp: NOW_SECONDS + 60 });
    const end = NOW + 90_000;
    const { proof: consumed } = await verify(proof, end - 1);
    expect(consumed.forgetAt).toBe(end);
    await expect(verify(proof, end)).rejects.toMatchObject({ code: "proof_expired" });
    await expect(verify(proof, end + 86_400_000)).rejects.toMatchObject({ code: "proof_expired" });
  });

  it("begin with iat and 30 s of tolerance, and not before nbf", async () => {
    await expect(verify(withClaims({ iat: NOW_SECONDS + 30, exp: NOW_SECONDS + 60 }))).resolves.toBeDefined();
    await expectRefused(withClaims({ iat: NOW_SECONDS + 31, exp: NOW_SECONDS + 60 }));
    await expectRefused(withClaims({ nbf: NOW_SECONDS + 31 }));
    await expect(verify(withClaims({ nbf: NOW_SECONDS - 10 }))).resolves.toBeDefined();
  });

  it("lie five minutes apart at most", async () => {
    await expect(verify(withClaims({ exp: NOW_SECONDS + 300 }))).resolves.toBeDefined();
    await expectRefused(withClaims({ exp: NOW_SECONDS + 301 }));
    await expectRefused(withClaims({ iat: 0 }));
    await expectRefused(withClaims({ exp: NOW_SECONDS + 86_400 }));
    // A proof for next year that is not yet valid must not be good then: it is, but only then, and only for five minutes.
    await expectRefused(withClaims({ iat: NOW_SECONDS + 31_536_000, exp: NOW_SECONDS + 31_536_300 }));
  });

  it.each([
    ["no exp", { exp: undefined }],
    ["no iat", { iat: undefined }],
    ["exp before iat", { iat: NOW_SECONDS + 10, exp: NOW_SECONDS }],
    ["exp equal to iat", { exp: NOW_SECONDS }],
    ["exp as text", { exp: `${NOW_SECONDS + 60}` }],
    ["exp with a fraction", { exp: NOW_SECONDS + 59.5 }],
    ["exp beyond every number", { exp: 1e308 }],
    ["a negative iat", { iat: -1 }],
    ["milliseconds for seconds", { iat: NOW, exp: NOW + 60 }],
    ["iat null", { iat: null }],
    ["nbf as text", { nbf: "0" }],
  ])("with %s are refused", async (_what, claims) => {
    await expectRefused(withClaims(claims));
  });
});

describe("the audience", () => {
  it.each([
    ["another broker", "https://other.example"],
    ["a slash at its end", `${ISSUER}/`],
    ["a path", `${ISSUER}/v1/grants`],
    ["upper case", "https://Valetkey.example"],
    ["http", "http://valetkey.example"],
    ["a port", `${ISSUER}:443`],
    ["a suffix", `${ISSUER}.evil.example`],
    ["a user", "https://valetkey.example@evil.example"],
    ["a list of one", [ISSUER]],
    ["a list of several", [ISSUER, "https://other.example"]],
    ["an empty list", []],
    ["an object", { 0: ISSUER }],
    ["nothing", ""],
    ["null", null],
    ["none", undefined],
  ])("of %s is refused", async (_what, aud) => {
    await expectRefused(withClaims({ aud }));
  });
});

describe("the name", () => {
  it.each([
    ["another sub", { sub: "other" }],
    ["no sub", { sub: undefined }],
    ["another iss", { iss: "other" }],
    ["no iss", { iss: undefined }],
    ["the sub in upper case", { sub: "Coder" }],
    ["names in a list", { iss: ["coder"], sub: ["coder"] }],
    ["a URL", { iss: "https://coder", sub: "https://coder" }],
    ["__proto__", { iss: "__proto__", sub: "__proto__" }],
  ])("with %s is refused", async (_what, claims) => {
    await expectRefused(withClaims(claims));
  });
});

describe("the jti", () => {
  it.each([
    ["missing", undefined],
    ["null", null],
    ["empty", ""],
    ["of 15 characters", "a".repeat(15)],
    ["of 129 characters", "a".repeat(129)],
    ["with a space, which would shift the key of replay", "a".repeat(8) + " " + "a".repeat(8)],
    ["with a line break at its end", `${"a".repeat(20)}\n`],
    ["with a null byte", `${"a".repeat(20)}\0`],
    ["beyond ASCII", "ä".repeat(20)],
    ["a number", Number("12345678901234567")],
    ["a list", ["a".repeat(20)]],
  ])("that is %s is refused", async (_what, jti) => {
    await expectRefused(withClaims({ jti }));
  });

  it("makes the key of replay together with the name alone: other times, headers and signatures do not change it", async () => {
    const jti = crypto.randomUUID();
    const first = await verify(withClaims({ jti }));
    const later = await verify(withClaims({ jti, exp: NOW_SECONDS + 120 }));
    const untyped = await verify(makeProof(coder, { header: { alg: "ES256" }, claims: { ...goodClaims(), jti } }));
    expect(first.proof.key).toBe(`coder ${jti}`);
    expect([later.proof.key, untyped.proof.key]).toEqual([first.proof.key, first.proof.key]);
  });
});

describe("other claims", () => {
  it.each(["scope", "azp", "act", "cnf", "environment", "labels", "role", "constructor", "__proto__"])(
    "such as %s are refused",
    async (name) => {
      const claims = JSON.stringify(goodClaims()).replace(/}$/, `,${JSON.stringify(name)}:"production"}`);
      await expectRefused(makeProof(coder, { claims }));
    },
  );

  it.each(["null", "[]", '"coder"', "7", "", "{", "{}x"])("and payloads such as %j are refused", async (claims) => {
    await expectRefused(makeProof(coder, { claims }));
  });
});

describe("a key that stands twice in the JSON", () => {
  // The signature covers the bytes, so only the caller itself can write one. There is one parser, which takes the last:
  // what it takes is what is checked and what is used.
  const twice = (name: string, firstValue: unknown, lastValue: unknown) =>
    JSON.stringify({ ...goodClaims(), [name]: lastValue }).replace(
      "{",
      `{${JSON.stringify(name)}:${JSON.stringify(firstValue)},`,
    );

  it("in the payload is judged by its last value, in every check alike", async () => {
    await expectRefused(makeProof(coder, { claims: twice("aud", ISSUER, "https://other.example") }));
    await expectRefused(makeProof(coder, { claims: twice("sub", "coder", "other") }));
    await expectRefused(makeProof(coder, { claims: twice("exp", NOW_SECONDS + 60, NOW_SECONDS + 9999) }));
    await expect(verify(makeProof(coder, { claims: twice("iss", "other", "coder") }))).resolves.toMatchObject({
      principal: { name: "coder" },
    });
    const [first, last] = [crypto.randomUUID(), crypto.randomUUID()];
    const { proof } = await verify(makeProof(coder, { claims: twice("jti", first, last) }));
    expect(proof.key).toBe(`coder ${last}`);
  });

  it("in the header cannot bring an algorithm past the check", async () => {
    await expectRefused(makeProof(coder, { header: '{"alg":"ES256","alg":"none"}' }));
    await expectRefused(makeProof(coder, { header: '{"alg":"ES256","typ":"JWT","typ":"at+jwt"}' }));
    await expect(verify(makeProof(coder, { header: '{"alg":"none","alg":"ES256"}' }))).resolves.toBeDefined();
  });
});
