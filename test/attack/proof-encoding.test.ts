// A second spelling of one proof would be a second proof: other base64url, other segments, the other form of an ECDSA
// signature. Replay is by issuer and jti, so even a spelling that verifies gains nothing.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyProof } from "../../src/identity/proof.ts";
import { type TestBroker, startTestBroker } from "../support/broker.ts";
import {
  encode,
  goodClaims,
  goodHeader,
  ISSUER,
  makeCallerKey,
  makePrincipals,
  makeProof,
  NOW,
} from "../support/made-proof.ts";
import { signProof } from "../support/raw-http.ts";

const coder = makeCallerKey();
const scopes = makePrincipals({ coder: [coder] });
const verify = (proof: string) => verifyProof(proof, ISSUER, scopes, [NOW]);
const expectRefused = (proof: string) => expect(verify(proof)).rejects.toMatchObject({ code: "proof_invalid" });

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** Order of the group of P-256. */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The same signature with s replaced by n − s: it verifies too. */
function flipS(proof: string): string {
  const [head, body, signature = ""] = proof.split(".");
  const bytes = Buffer.from(signature, "base64url");
  const s = N - BigInt(`0x${bytes.subarray(32).toString("hex")}`);
  const flipped = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex")]);
  return `${head}.${body}.${flipped.toString("base64url")}`;
}

describe("a proof's spelling", () => {
  const proof = makeProof(coder);
  const [head = "", body = "", signature = ""] = proof.split(".");

  it("is accepted as it was made", async () => {
    await expect(verify(proof)).resolves.toMatchObject({ principal: { name: "coder" } });
  });

  it.each([
    ["padding", `${proof}==`],
    ["padding inside", `${head}=.${body}.${signature}`],
    ["a space before", ` ${proof}`],
    ["a space after", `${proof} `],
    ["a space inside", `${head}. ${body}.${signature}`],
    ["a line break", `${proof}\n`],
    ["a tab in the payload", `${head}.${body.slice(0, 9)}\t${body.slice(9)}.${signature}`],
    ["a null byte", `${proof}\0`],
    ["a character beyond ASCII", `${head}.${body}é.${signature}`],
    ["four segments", `${proof}.`],
    ["five segments, as JWE has", `${head}..${body}.${signature}.`],
    ["two segments", `${head}.${body}`],
    ["one segment", head],
    ["nothing", ""],
    ["dots alone", ".."],
    ["an empty header", `.${body}.${signature}`],
    ["an empty payload, as detached JWS has", `${head}..${signature}`],
    ["an empty signature", `${head}.${body}.`],
    ["header and payload exchanged", `${body}.${head}.${signature}`],
    ["JSON serialisation", JSON.stringify({ protected: head, payload: body, signature })],
    ["a signature of another proof", `${head}.${body}.${makeProof(coder).split(".")[2]}`],
  ])("with %s is refused", async (_what, other) => {
    await expectRefused(other);
  });

  it("in the other base64 alphabet is refused", async () => {
    // Enough tries that a `-` or `_` is surely among them.
    for (let i = 0; i < 10; i++) {
      const plain = makeProof(coder).replaceAll("-", "+").replaceAll("_", "/");
      if (/[+/]/.test(plain)) await expectRefused(plain);
    }
    await expectRefused(`${head}.${body}.${"+/".repeat(43)}`);
  });

  it("with other trailing bits, which decode to the same bytes, is refused", async () => {
    // 64 bytes are 85 characters and two bits: the last character has four bits that mean nothing.
    expect(signature).toHaveLength(86);
    const last = ALPHABET.indexOf(signature.slice(-1));
    for (let low = 1; low < 16; low++) {
      const other = signature.slice(0, -1) + ALPHABET.charAt((last & 0b110000) | low);
      expect(Buffer.from(other, "base64url")).toEqual(Buffer.from(signature, "base64url"));
      await expectRefused(`${head}.${body}.${other}`);
    }
  });

  it("that is longer than 4,096 characters is refused before it is parsed", async () => {
    await expectRefused(makeProof(coder, { header: { ...goodHeader(), kid: "k".repeat(3700) } }));
    const claims = `${JSON.stringify(goodClaims())}${" ".repeat(3700)}`;
    const long = makeProof(coder, { claims });
    expect(long.length).toBeGreaterThan(5000);
    await expect(verify(long)).rejects.toMatchObject({ detail: expect.stringContaining("at most 4096") });
    await expectRefused("a".repeat(10_000_000));
  });

  it("that is not UTF-8, or nested beyond reason, is refused", async () => {
    await expectRefused(`${head}.${Buffer.from([0x7b, 0xff, 0xfe, 0x7d]).toString("base64url")}.${signature}`);
    await expectRefused(makeProof(coder, { claims: `${"[".repeat(1200)}${"]".repeat(1200)}` }));
    await expectRefused(`${encode("\uFEFF{}")}.${body}.${signature}`);
  });

  it("never turns up in the error", async () => {
    const marked = makeProof(coder, {
      claims: { ...goodClaims(), aud: "sk_live_marker", jti: "sk_live_marker_marker" },
    });
    const thrown: unknown = await verify(marked).catch((error: unknown) => error);
    expect(JSON.stringify(thrown)).not.toContain("sk_live_marker");
    expect(String(thrown)).not.toContain(marked);
  });
});

describe("one proof in two spellings", () => {
  let broker: TestBroker;
  beforeAll(async () => {
    broker = await startTestBroker();
  });
  afterAll(() => broker.close());

  const read = async (proof: string): Promise<unknown> => {
    const response = await fetch(`${broker.url}/v1/grants`, { headers: { authorization: `Bearer ${proof}` } });
    const body: unknown = await response.json();
    return response.status === 200 ? 200 : body;
  };

  it("is one proof: with s and with n − s both verify, and the second is a replay", async () => {
    const local = makeProof(coder);
    await expect(verify(flipS(local))).resolves.toBeDefined();
    expect((await verify(flipS(local))).proof).toEqual((await verify(local)).proof);

    const proof = await signProof(broker, "coder");
    expect(flipS(proof)).not.toBe(proof);
    expect(await read(proof)).toBe(200);
    expect(await read(flipS(proof))).toMatchObject({ status: 401, code: "proof_replayed" });
    const flippedFirst = flipS(await signProof(broker, "coder"));
    expect(await read(flippedFirst)).toBe(200);
    expect(await read(flipS(flippedFirst))).toMatchObject({ code: "proof_replayed" });
  });

  it("is one proof when twenty are sent at once", async () => {
    const proof = await signProof(broker, "coder");
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => read(i % 2 === 0 ? proof : flipS(proof))));
    expect(answers.filter((answer) => answer === 200)).toHaveLength(1);
  });

  it("with one jti and other times or another signature is a replay", async () => {
    const jti = crypto.randomUUID();
    expect(await read(await signProof(broker, "coder", { claims: { jti } }))).toBe(200);
    const exp = Math.floor(broker.clock.now() / 1000) + 100;
    expect(await read(await signProof(broker, "coder", { claims: { jti, exp } }))).toMatchObject({
      code: "proof_replayed",
    });
    expect(await read(await signProof(broker, "other-agent", { claims: { jti } }))).toBe(200);
  });

  it("stays used while it could be accepted", async () => {
    const proof = await signProof(broker, "coder");
    expect(await read(proof)).toBe(200);
    broker.clock.advance(60_000 + 29_000);
    expect(await read(proof)).toMatchObject({ code: "proof_replayed" });
    broker.clock.advance(2000);
    expect(await read(proof)).toMatchObject({ code: "proof_expired" });
  });
});
