// Forged signatures on holds: other algorithms, other keys, other types, and second spellings of what was signed.

import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseApproval } from "../../src/core/approval.ts";
import { thumbprint } from "../../src/core/thumbprint.ts";
import { verifyApproval } from "../../src/holds/verify-approval.ts";
import { verifyProof } from "../../src/identity/proof.ts";
import {
  encode,
  goodClaims,
  goodHeader,
  ISSUER,
  makeCallerKey,
  makeProof,
  NOW,
  signatureOf,
} from "../support/made-proof.ts";
import {
  approvalClaims,
  approvalHeader,
  DIGEST,
  expected,
  HOLD,
  makePerson,
  makePolicy,
  makeSignature,
} from "../support/made-signature.ts";

const own = makeCallerKey();
const second = makeCallerKey("EdDSA");
const other = makeCallerKey();
const dba = makePerson("dba-1", [own, second]);
const lead = makePerson("lead-1", [other]);

const verify = (jws: string, person = dba) => verifyApproval(jws, expected(person));
const expectRefused = (jws: string, person = dba) =>
  expect(verify(jws, person)).rejects.toMatchObject({ name: "BrokerError", code: "approval_invalid" });
const goodPayload = JSON.stringify(approvalClaims());

describe("a signature on a hold", () => {
  it("by either registered key is accepted, named by thumbprint or not, and says which key it was", async () => {
    for (const key of [own, second]) {
      const kid = thumbprint(key.publicJwk);
      for (const header of [approvalHeader(key), { ...approvalHeader(key), kid }, { kid, ...approvalHeader(key) }])
        await expect(verify(makeSignature(key, { header }))).resolves.toEqual({ key: kid, jwk: key.publicJwk });
    }
  });

  it("says what is wrong with it, and quotes nothing of it", async () => {
    const hold = `hld_${"7".repeat(26)}`;
    for (const [change, said] of [
      [{ hold }, /another hold/],
      [{ digest: "0".repeat(64) }, /another request/],
      [{ decision: "deny" }, /says deny/],
      [{ at: "2020-01-01T00:00:00.000Z" }, /before the request/],
      [{ at: "2040-01-01T00:00:00.000Z" }, /future/],
    ] as const) {
      await expect(verify(makeSignature(own, { claims: approvalClaims(change) }))).rejects.toThrow(said);
    }
    await expect(verify(makeSignature(other))).rejects.toThrow(/not by a key/);
    await expect(verify("A".repeat(4097))).rejects.toThrow(/at most 4096/);
    const tooLate = verifyApproval(makeSignature(own), expected(dba, { now: NOW + 600_001 }));
    await expect(tooLate).rejects.toThrow(/10 minutes/);
  });
});

describe("an algorithm", () => {
  it.each(["none", "None", "NONE", ""])("%j is refused, with and without a signature", async (alg) => {
    const input = `${encode({ ...approvalHeader(own), alg })}.${encode(goodPayload)}`;
    await expectRefused(`${input}.`);
    await expectRefused(`${input}.${signatureOf(input, own).toString("base64url")}`);
    await expectRefused(makeSignature(own, { header: { ...approvalHeader(own), alg } }));
  });

  it("HS256 is refused with the public key as secret, under its own name and others'", async () => {
    const { x = "", y = "" } = own.publicJwk;
    const secrets = [
      own.publicKey.export({ format: "pem", type: "spki" }),
      own.publicKey.export({ format: "der", type: "spki" }),
      JSON.stringify(own.publicJwk),
      Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]),
      "",
    ];
    for (const secret of secrets) {
      for (const alg of ["HS256", "HS512", "ES256", "EdDSA"]) {
        const input = `${encode({ ...approvalHeader(own), alg })}.${encode(approvalClaims())}`;
        for (const digest of ["sha256", "sha512"]) {
          const mac = createHmac(digest, secret).update(input).digest("base64url");
          await expectRefused(`${input}.${mac}`);
        }
      }
    }
  });

  it("is the key's own: ES256 does not stand for Ed25519, nor the other way about", async () => {
    await expectRefused(makeSignature(own, { header: approvalHeader(second) }));
    await expectRefused(makeSignature(second, { header: approvalHeader(own) }));
    for (const alg of ["ES384", "ES256K", "PS256", "RS256", "es256", "Ed25519", "EDDSA"])
      await expectRefused(makeSignature(own, { header: { ...approvalHeader(own), alg } }));
  });

  it("ES256 with a signature in DER, of another length, or of zeros is refused", async () => {
    const input = `${encode(approvalHeader(own))}.${encode(approvalClaims())}`;
    const der = sign("sha256", Buffer.from(input), own.privateKey);
    const short = signatureOf(input, own).subarray(0, 63);
    for (const signature of [der, short, Buffer.alloc(0), Buffer.alloc(64), Buffer.alloc(65), Buffer.alloc(64, 255)]) {
      const jws = `${input}.${signature.toString("base64url")}`;
      await expectRefused(jws);
      if (signature.length !== 64)
        expect(parseApproval(jws)).toMatchObject({ fault: expect.stringContaining("64 bytes") });
    }
  });

  it("EdDSA with zeros, or with the signature of other bytes, is refused", async () => {
    const [head = "", payload = ""] = makeSignature(second).split(".");
    const [, , elsewhere] = makeSignature(second, { claims: approvalClaims({ decision: "deny" }) }).split(".");
    for (const tail of [Buffer.alloc(64).toString("base64url"), elsewhere])
      await expectRefused(`${head}.${payload}.${tail ?? ""}`);
  });
});

describe("a key", () => {
  it("of another person is refused, whichever of the two is named", async () => {
    await expectRefused(makeSignature(other));
    await expectRefused(makeSignature(own), lead);
    for (const key of [own, second, other]) {
      const header = { ...approvalHeader(other), kid: thumbprint(key.publicJwk) };
      await expectRefused(makeSignature(other, { header }));
    }
  });

  it.each(["no-such-key", "", "../../../dev/null", 7, null, {}])("named by the kid %j is refused", async (kid) => {
    await expectRefused(makeSignature(own, { header: { ...approvalHeader(own), kid } }));
    await expectRefused(makeSignature(second, { header: { ...approvalHeader(second), kid } }));
  });

  it("named by the kid of the person's other key is refused", async () => {
    const kid = thumbprint(second.publicJwk);
    await expectRefused(makeSignature(own, { header: { ...approvalHeader(own), kid } }));
  });

  it.each<[string, unknown]>([
    ["jwk", other.publicJwk],
    ["jku", "https://evil.example/jwks.json"],
    ["x5u", "https://evil.example/cert.pem"],
    ["x5c", ["MIIB"]],
    ["crit", []],
    ["b64", false],
    ["zip", "DEF"],
    ["cty", "JWT"],
    ["__proto__", { alg: "none" }],
  ])("that the header brings along as %s is never looked at: refused", async (name, value) => {
    const header = JSON.stringify(approvalHeader(own)).replace(/}$/, `,"${name}":${JSON.stringify(value)}}`);
    for (const key of [own, other]) await expectRefused(makeSignature(key, { header }));
  });

  it("that cannot be used, or is of another curve, verifies nothing", async () => {
    const { x = "", y = "" } = own.publicJwk;
    for (const jwk of [
      { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA" },
      { kty: "EC", crv: "P-384", x, y },
      { kty: "EC", crv: "P-256", x },
      { kty: "oct", k: x },
      { kty: "OKP", crv: "X25519", x },
      {},
    ]) {
      const person = { ...dba, keys: [jwk] };
      for (const key of [own, second]) await expectRefused(makeSignature(key), person);
    }
    await expectRefused(makeSignature(own), { ...dba, keys: [] });
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    const { x: bitX = "", y: bitY = "" } = publicKey.export({ format: "jwk" });
    const publicJwk = { kty: "EC", crv: "secp256k1", x: bitX, y: bitY };
    const coin = { algorithm: "ES256", privateKey, publicKey, publicJwk } as const;
    await expectRefused(makeSignature(coin), makePerson("dba-1", [coin]));
  });
});

describe("a type", () => {
  it.each(["client-authentication+jwt", "JWT", "at+jwt", "dpop+jwt", "VALETKEY-APPROVAL+JWS", undefined, null, "", []])(
    "%j is no approval's",
    async (typ) => {
      await expectRefused(makeSignature(own, { header: { ...approvalHeader(own), typ } }));
    },
  );

  it("keeps a proof of identity from being an approval, and an approval from being a proof (rule 22)", async () => {
    await expectRefused(makeProof(own, { claims: goodClaims("dba-1") }));
    const policy = makePolicy(dba);
    const prove = (jws: string) => verifyProof(jws, ISSUER, policy, [NOW]);
    await expect(prove(makeProof(own, { claims: goodClaims("dba-1") }))).resolves.toMatchObject({ principal: dba });
    for (const jws of [
      makeSignature(own),
      makeSignature(own, { claims: goodClaims("dba-1") }),
      makeSignature(own, { header: goodHeader() }),
    ])
      await expect(prove(jws)).rejects.toMatchObject({ code: "proof_invalid" });
  });
});

describe("a second spelling", () => {
  const at = String(approvalClaims()["at"]);
  it.each([
    ["a member twice", goodPayload.replace("{", '{"decision":"deny",')],
    ["the digest twice", goodPayload.replace("{", `{"digest":"${"0".repeat(64)}",`)],
    ["a member more", goodPayload.replace("}", ',"task":"T-1"}')],
    ["a member less", goodPayload.replace(`"at":"${at}",`, "")],
    ["another order", JSON.stringify({ hold: HOLD, digest: DIGEST, decision: "approve", at })],
    ["spaces", JSON.stringify(approvalClaims(), null, 1)],
    ["a line end after it", `${goodPayload}\n`],
    ["something after it", `${goodPayload}{}`],
    ["a byte order mark", `\uFEFF${goodPayload}`],
    ["an escape", goodPayload.replace("approve", "\\u0061pprove")],
    ["a time without milliseconds", goodPayload.replace(".000Z", "Z")],
    ["a time with an offset", goodPayload.replace(".000Z", ".000+00:00")],
    ["a time of six digits", goodPayload.replace(".000Z", ".000000Z")],
    ["a day that there is not", goodPayload.replace(at, "2026-02-30T00:00:00.000Z")],
    ["midnight as the end of a day", goodPayload.replace(at, "2026-02-28T24:00:00.000Z")],
    ["a digest in upper case", goodPayload.replace(DIGEST, DIGEST.toUpperCase())],
    ["a hold in lower case", goodPayload.replace(HOLD, HOLD.toLowerCase())],
    ["a list around it", `[${goodPayload}]`],
    ["a text around it", JSON.stringify(goodPayload)],
    ["null", "null"],
    ["nothing", ""],
  ])("of the payload, %s, is refused", async (_what, claims) => {
    const jws = makeSignature(own, { claims });
    await expectRefused(jws);
    expect(parseApproval(jws)).toMatchObject({ fault: expect.stringContaining("canonical JSON") });
  });

  it.each([
    ["an algorithm twice", '{"alg":"none","alg":"ES256","typ":"valetkey-approval+jws"}'],
    ["a type twice", '{"alg":"ES256","typ":"JWT","typ":"valetkey-approval+jws"}'],
    ["spaces", '{"alg": "ES256","typ":"valetkey-approval+jws"}'],
    ["an escape", '{"\\u0061lg":"ES256","typ":"valetkey-approval+jws"}'],
    ["something after it", '{"alg":"ES256","typ":"valetkey-approval+jws"}\n'],
    ["a list", '["ES256","valetkey-approval+jws"]'],
  ])("of the header, %s, is refused", async (_what, header) => {
    await expectRefused(makeSignature(own, { header }));
  });

  it("of the whole, by padding, other letters, more parts, spaces or length, is refused", async () => {
    const jws = makeSignature(own);
    const [head = "", payload = "", tail = ""] = jws.split(".");
    for (const text of [
      `${jws}=`,
      `${jws}.`,
      `${jws}.${tail}`,
      `${head}..${tail}`,
      `${head}.${payload}=.${tail}`,
      ` ${jws}`,
      `${jws}\n`,
      `${head}.${payload}`,
      `${head}.${payload}.`,
      JSON.stringify({ protected: head, payload, signature: tail }),
      "",
      ".".repeat(100),
      `${jws}${"A".repeat(4096)}`,
    ])
      await expectRefused(text);
    const standard = Buffer.from(tail, "base64url").toString("base64");
    if (standard.replace(/=+$/, "") !== tail) await expectRefused(`${head}.${payload}.${standard}`);
  });
});
