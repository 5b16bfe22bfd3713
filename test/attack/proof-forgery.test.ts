// Forged proofs of identity: other algorithms, other keys, keys that the proof brings along, and our own JWTs.

import { generateKeyPairSync, sign } from "node:crypto";
import { calculateJwkThumbprint, importJWK } from "jose";
import { describe, expect, it } from "vitest";
import { createJwtMinter } from "../../src/credentials/jwt.ts";
import { makeId } from "../../src/core/ids.ts";
import { verifyProof } from "../../src/identity/proof.ts";
import { SignJWT } from "jose";
import {
  encode,
  goodClaims,
  goodHeader,
  ISSUER,
  makeCallerKey,
  makeHmacProof,
  makePrincipals,
  makeProof,
  NOW,
  privateJwkOf,
  signatureOf,
} from "../support/made-proof.ts";

const coder = makeCallerKey();
const second = makeCallerKey("EdDSA");
const other = makeCallerKey();
const stranger = makeCallerKey();
const scopes = makePrincipals({ coder: [coder, second], other: [other], keyless: [], constructor: [other] });

const verify = (proof: string) => verifyProof(proof, ISSUER, scopes, [NOW]);
const expectRefused = (proof: string) =>
  expect(verify(proof)).rejects.toMatchObject({ name: "BrokerError", code: "proof_invalid" });

describe("a proof", () => {
  it("by either registered key is accepted, with the type of rfc7523bis, with JWT or without one", async () => {
    for (const key of [coder, second]) {
      for (const typ of ["client-authentication+jwt", "JWT", undefined]) {
        const { principal, proof } = await verify(makeProof(key, { header: { ...goodHeader(key.algorithm), typ } }));
        expect(principal.name).toBe("coder");
        expect(proof.forgetAt).toBe(NOW + 90_000);
      }
    }
  });

  it("may name its key by thumbprint", async () => {
    const kid = await calculateJwkThumbprint({ ...coder.publicJwk });
    await expect(verify(makeProof(coder, { header: { ...goodHeader(), kid } }))).resolves.toMatchObject({
      principal: { name: "coder" },
    });
  });
});

describe("an algorithm", () => {
  it.each(["none", "None", "NONE", ""])("%j is refused, with and without a signature", async (alg) => {
    const input = `${encode({ ...goodHeader(), alg })}.${encode(goodClaims())}`;
    await expectRefused(`${input}.`);
    await expectRefused(`${input}.${signatureOf(input, coder).toString("base64url")}`);
  });

  it("HS256 is refused with the public key as secret, however the key is written", async () => {
    const { x = "", y = "" } = coder.publicJwk;
    const secrets = [
      coder.publicKey.export({ format: "pem", type: "spki" }),
      coder.publicKey.export({ format: "der", type: "spki" }),
      JSON.stringify(coder.publicJwk),
      Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]),
      Buffer.concat([Buffer.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]),
      x,
      "",
    ];
    for (const secret of secrets) {
      for (const alg of ["HS256", "ES256", "EdDSA"]) await expectRefused(makeHmacProof(secret, alg));
    }
  });

  it("RS256, ES384 and the rest are refused", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const input = `${encode({ ...goodHeader(), alg: "RS256" })}.${encode(goodClaims())}`;
    await expectRefused(`${input}.${sign("sha256", Buffer.from(input), rsa.privateKey).toString("base64url")}`);
    for (const alg of ["ES384", "ES512", "ES256K", "PS256", "HS512", "es256", "Ed25519", "ECDH-ES", "dir"]) {
      await expectRefused(makeProof(coder, { header: { ...goodHeader(), alg } }));
    }
  });

  it("is the key's own: ES256 does not stand for Ed25519, nor the other way about", async () => {
    await expectRefused(makeProof(coder, { header: goodHeader("EdDSA") }));
    await expectRefused(makeProof(second, { header: goodHeader("ES256") }));
  });

  it("ES256 with a signature in DER, of no length, or of zeros is refused", async () => {
    const input = `${encode(goodHeader())}.${encode(goodClaims())}`;
    const der = sign("sha256", Buffer.from(input), coder.privateKey);
    for (const signature of [der, Buffer.alloc(0), Buffer.alloc(64), Buffer.alloc(63), Buffer.alloc(128, 1)]) {
      await expectRefused(`${input}.${signature.toString("base64url")}`);
    }
  });
});

describe("a key", () => {
  it("of another principal, or of nobody, is refused", async () => {
    await expectRefused(makeProof(other));
    await expectRefused(makeProof(stranger));
    await expectRefused(makeProof(coder, { claims: goodClaims("other") }));
  });

  it.each([
    ["unknown", async () => "no-such-key"],
    ["of another principal", () => calculateJwkThumbprint({ ...other.publicJwk })],
    ["of the principal's other key", () => calculateJwkThumbprint({ ...second.publicJwk })],
    ["empty", async () => ""],
    ["a path", async () => "../../../../dev/null"],
    ["a query", async () => "' OR 1=1 --"],
  ])("named by a kid that is %s is refused", async (_what, kid) => {
    await expectRefused(makeProof(coder, { header: { ...goodHeader(), kid: await kid() } }));
  });

  it.each<[string, unknown]>([
    ["jwk", stranger.publicJwk],
    ["jku", "https://evil.example/jwks.json"],
    ["x5u", "https://evil.example/cert.pem"],
    ["x5c", ["MIIB"]],
    ["x5t", "x"],
    ["crit", ["exp"]],
    ["crit", []],
    ["b64", false],
    ["b64", true],
    ["zip", "DEF"],
    ["cty", "JWT"],
    ["epk", {}],
    ["nonce", "x"],
    ["__proto__", { alg: "none" }],
  ])("that the proof brings along in the header %s is never looked at: refused", async (name, value) => {
    const header = JSON.stringify(goodHeader()).replace(/}$/, `,${JSON.stringify(name)}:${JSON.stringify(value)}}`);
    await expectRefused(makeProof(coder, { header }));
    await expectRefused(makeProof(stranger, { header }));
  });

  it.each([
    "at+jwt",
    "application/at+jwt",
    "dpop+jwt",
    "valetkey-feed+jwt",
    "jwt",
    "client-authentication+jwt ",
    7,
    null,
    [],
  ])("is not lent to the type %j", async (typ) => {
    await expectRefused(makeProof(coder, { header: { ...goodHeader(), typ } }));
  });

  it("is demanded: a principal without one, and a name that nobody has, are refused", async () => {
    for (const name of [
      "keyless",
      "nobody",
      "toString",
      "hasOwnProperty",
      "__proto__",
      "",
      "CODER",
      "coder ",
      "coder\u0000",
    ]) {
      await expectRefused(makeProof(coder, { claims: goodClaims(name) }));
    }
  });

  it("of a principal that is called constructor is its own", async () => {
    await expect(verify(makeProof(other, { claims: goodClaims("constructor") }))).resolves.toMatchObject({
      principal: { name: "constructor" },
    });
    await expectRefused(makeProof(coder, { claims: goodClaims("constructor") }));
  });
});

describe("a JWT that we minted", () => {
  it("is no proof, not even if the agent's own key had signed it (rule 6)", async () => {
    const key = await importJWK(privateJwkOf(coder), "ES256");
    const minter = createJwtMinter({
      issuer: "coder",
      sign: (typ, claims) => new SignJWT(claims).setProtectedHeader({ alg: "ES256", typ }).sign(key),
    });
    const grant = {
      id: makeId("grt", NOW, "0".repeat(16)),
      parents: [],
      agent: "coder",
      task: "T-1",
      role: "editor",
      permissions: [{ action: "volume:read", resource: "shop:volume/1" }],
      environments: ["staging"],
      crossingFrom: null,
      endsAt: NOW + 60_000,
      credentialTtlSeconds: 60,
    };
    const { value } = await minter.mint(grant, makeId("crd", NOW, "0".repeat(16)), ISSUER, NOW);
    await expectRefused(value);
    // The same claims under the type of a proof, too: what a proof does not have is refused.
    const [, payload = ""] = value.split(".");
    await expectRefused(makeProof(coder, { claims: Buffer.from(payload, "base64url").toString() }));
  });
});
