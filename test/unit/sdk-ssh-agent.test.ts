// The SSH agent's client against a stand-in that answers well and badly: what is read, what is refused, what is bounded.
// test/cli/ssh-agent.test.ts has the real one.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { thumbprint } from "../../src/core/thumbprint.ts";
import { ValetkeyError } from "../../src/sdk/errors.ts";
import { createSshAgent, sshFingerprint } from "../../src/sdk/ssh-agent.ts";
import { readPublicKey, readSignature } from "../../src/sdk/ssh-wire.ts";
import { type CallerKey, makeCallerKey, signatureOf } from "../support/made-proof.ts";
import { framed, mpint, sshText, startStandInAgent, uint32 } from "../support/stand-in-ssh-agent.ts";

const ec = makeCallerKey();
const ed = makeCallerKey("EdDSA");
const raw = (key: CallerKey, member: "x" | "y"): Buffer => Buffer.from(key.publicJwk[member] ?? "", "base64url");

function blobOf(key: CallerKey): Buffer {
  if (key.algorithm === "EdDSA") return Buffer.concat([sshText("ssh-ed25519"), sshText(raw(key, "x"))]);
  const point = Buffer.concat([Buffer.of(4), raw(key, "x"), raw(key, "y")]);
  return Buffer.concat([sshText("ecdsa-sha2-nistp256"), sshText("nistp256"), sshText(point)]);
}

function signatureBlob(key: CallerKey, signature: Uint8Array): Buffer {
  if (key.algorithm === "EdDSA") return Buffer.concat([sshText("ssh-ed25519"), sshText(signature)]);
  const numbers = Buffer.concat([mpint(signature.subarray(0, 32)), mpint(signature.subarray(32))]);
  return Buffer.concat([sshText("ecdsa-sha2-nistp256"), sshText(numbers)]);
}

const identity = (blob: Uint8Array, comment: string): Buffer => Buffer.concat([sshText(blob), sshText(comment)]);
const listOf = (...keys: readonly Buffer[]): Buffer => framed(Buffer.of(12), uint32(keys.length), ...keys);
const twoKeys = listOf(identity(blobOf(ec), "work"), identity(blobOf(ed), "home"));
const signed = (blob: Uint8Array): Buffer => framed(Buffer.of(14), sshText(blob));
const BYTES = Buffer.from("what is to be signed");

/** Lists both keys, and answers whatever else is asked with this. */
async function agentThatSigns(answer: Uint8Array | null | "close", limits: { signMs?: number } = {}) {
  const { socket } = await startStandInAgent((request) => (request[0] === 11 ? twoKeys : answer));
  const agent = createSshAgent({ socket, ...limits });
  const [first, second] = await agent.keys();
  if (first === undefined || second === undefined) throw new Error("the stand-in lists two keys");
  return { ec: agent.signerOf(first), ed: agent.signerOf(second) };
}

async function listFrom(answer: Uint8Array | null | "close", limits: { answerMs?: number } = {}) {
  const { socket } = await startStandInAgent(() => answer);
  return createSshAgent({ socket, ...limits }).keys();
}

describe("the keys of an agent", () => {
  it("are listed with fingerprint and JWK, and those of other kinds as not usable", async () => {
    const rsa = Buffer.concat([sshText("ssh-rsa"), sshText("e"), sshText("n")]);
    const card = Buffer.concat([sshText("sk-ssh-ed25519@openssh.com"), sshText(raw(ed, "x")), sshText("ssh:")]);
    const certificate = Buffer.concat([sshText("ssh-ed25519-cert-v01@openssh.com"), sshText("x")]);
    const blobs = [blobOf(ec), blobOf(ed), rsa, card, certificate];
    const keys = await listFrom(listOf(...blobs.map((blob, index) => identity(blob, `key ${index}`))));
    expect(keys.map(({ usable }) => usable?.publicJwk ?? null)).toEqual([ec.publicJwk, ed.publicJwk, null, null, null]);
    expect(keys.map(({ comment }) => comment)).toEqual(["key 0", "key 1", "key 2", "key 3", "key 4"]);
    expect(keys.map(({ fingerprint }) => fingerprint)).toEqual(blobs.map(sshFingerprint));
    expect(keys[0]?.fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
    const [, , other] = keys;
    if (other !== undefined)
      expect(() => createSshAgent({ socket: "none" }).signerOf(other)).toThrow(/ssh-rsa: expected Ed25519/);
  });

  it.each<[string, Buffer, RegExp]>([
    ["another message", framed(Buffer.of(6)), /message of type 6/],
    ["a failure", framed(Buffer.of(5)), /locked/],
    ["nothing in a message", uint32(0), /announced an answer of 0 bytes/],
    ["too much", uint32(262_145), /announced an answer of 262145 bytes/],
    ["text of another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), /announced an answer of/],
    ["more than it announced", Buffer.concat([twoKeys, Buffer.of(0)]), /more than it announced/],
    ["more keys than it has", framed(Buffer.of(12), uint32(2), identity(blobOf(ec), "")), /too short/],
    ["four thousand million keys", framed(Buffer.of(12), uint32(2 ** 32 - 1)), /too short/],
    ["fewer keys than it has", framed(Buffer.of(12), uint32(0), identity(blobOf(ec), "")), /after its end/],
    ["a key without bytes", listOf(identity(Buffer.alloc(0), "")), /too short/],
    ["a key that goes on", listOf(identity(Buffer.concat([blobOf(ed), Buffer.of(0)]), "")), /after its end/],
    ["a short Ed25519 key", listOf(identity(Buffer.concat([sshText("ssh-ed25519"), sshText("x")]), "")), /32 bytes/],
  ])("are not read from an answer with %s", async (_what, answer, said) => {
    await expect(listFrom(answer)).rejects.toThrow(said);
    await expect(listFrom(answer)).rejects.toBeInstanceOf(ValetkeyError);
  });

  it("of P-256 are uncompressed points of that curve", async () => {
    const point = Buffer.concat([Buffer.of(4), raw(ec, "x"), raw(ec, "y")]);
    const key = (curve: string, bytes: Uint8Array) =>
      Buffer.concat([sshText("ecdsa-sha2-nistp256"), sshText(curve), sshText(bytes)]);
    expect(readPublicKey(key("nistp256", point))?.publicJwk).toEqual(ec.publicJwk);
    const elsewhere = Buffer.from(point).fill(1, 60);
    for (const blob of [
      key("nistp384", point),
      key("nistp256", point.subarray(0, 64)),
      key("nistp256", Buffer.concat([Buffer.of(2), raw(ec, "x")])),
      key("nistp256", Buffer.concat([Buffer.of(6), point.subarray(1)])),
      key("nistp256", elsewhere),
    ])
      expect(() => readPublicKey(blob)).toThrow(ValetkeyError);
  });
});

describe("an agent's signature", () => {
  it.each([["ES256", ec] as const, ["EdDSA", ed] as const])("by %s is that of a JWS, 64 bytes", async (alg, key) => {
    const signature = signatureOf(BYTES.toString(), key);
    const { [alg === "ES256" ? "ec" : "ed"]: signer } = await agentThatSigns(signed(signatureBlob(key, signature)));
    expect(signer).toMatchObject({ name: null, alg, publicJwk: key.publicJwk, kid: thumbprint(key.publicJwk) });
    expect(Buffer.from(await signer.sign(BYTES))).toEqual(signature);
  });

  it("over other bytes, or by another key, is never handed out", async () => {
    for (const [key, text] of [
      [ec, "other bytes"],
      [makeCallerKey(), BYTES.toString()],
    ] as const) {
      const { ec: signer } = await agentThatSigns(signed(signatureBlob(key, signatureOf(text, key))));
      await expect(signer.sign(BYTES)).rejects.toThrow(/not by SHA256:/);
    }
    const { ed: signer } = await agentThatSigns(signed(signatureBlob(ed, Buffer.alloc(64))));
    await expect(signer.sign(BYTES)).rejects.toThrow(/not by SHA256:/);
  });

  it.each<[string, Buffer | "close", RegExp]>([
    ["a refusal", framed(Buffer.of(5)), /does not sign .*locked/],
    ["a list of keys", twoKeys, /message of type 12/],
    ["nothing", "close", /closed the connection/],
    ["a signature of another kind", signed(signatureBlob(ed, Buffer.alloc(64))), /another kind/],
    [
      "something after the signature",
      signed(Buffer.concat([signatureBlob(ec, Buffer.alloc(64, 1)), Buffer.of(0)])),
      /after its end/,
    ],
    ["something after the answer", framed(Buffer.of(14), sshText("x"), Buffer.of(0)), /after its end/],
    ["an empty signature", signed(Buffer.alloc(0)), /too short/],
  ])("is not made of %s", async (_what, answer, said) => {
    const { ec: signer } = await agentThatSigns(answer);
    await expect(signer.sign(BYTES)).rejects.toThrow(said);
    await expect(signer.sign(BYTES)).rejects.toBeInstanceOf(ValetkeyError);
  });

  it("of two numbers is read as they are, of every size, in their shortest form alone", () => {
    const number = fc
      .tuple(fc.uint8Array({ minLength: 1, maxLength: 32 }), fc.integer({ min: 1, max: 255 }))
      .map(([bytes, first]) => Buffer.from(bytes).fill(first, 0, 1));
    fc.assert(
      fc.property(number, number, (r, s) => {
        const padded = [r, s].map((bytes) => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]));
        const blob = (...numbers: readonly Buffer[]) =>
          Buffer.concat([sshText("ecdsa-sha2-nistp256"), sshText(Buffer.concat(numbers))]);
        expect(Buffer.from(readSignature(blob(mpint(r), mpint(s)), "ES256"))).toEqual(Buffer.concat(padded));
        const longer = sshText(Buffer.concat([Buffer.of(0, 0), r]));
        const negative = sshText(Buffer.from(r).fill(0x80, 0, 1));
        const large = sshText(Buffer.alloc(33, 1));
        for (const bad of [longer, negative, large, sshText("")])
          for (const numbers of [
            [bad, mpint(s)],
            [mpint(s), bad],
          ])
            expect(() => readSignature(blob(...numbers), "ES256")).toThrow(ValetkeyError);
        expect(() => readSignature(blob(mpint(r)), "ES256")).toThrow(ValetkeyError);
        expect(() => readSignature(blob(mpint(r), mpint(s), mpint(s)), "ES256")).toThrow(ValetkeyError);
      }),
    );
  });

  it("and a key of any bytes at all are read or refused, never a crash", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.constantFrom("ssh-ed25519", "ecdsa-sha2-nistp256"), fc.uint8Array({ maxLength: 80 }))
        .map(([type, rest]) => Buffer.concat([sshText(type), sshText(rest)])),
    );
    fc.assert(
      fc.property(bytes, fc.constantFrom("ES256", "EdDSA"), (blob, alg) => {
        for (const read of [() => readSignature(blob, alg), () => readPublicKey(blob)]) {
          try {
            read();
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(ValetkeyError);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("an agent", () => {
  it("that says nothing is given up, for listing and for signing", async () => {
    await expect(listFrom(null, { answerMs: 20 })).rejects.toThrow(/did not answer within 20 ms/);
    await expect(listFrom(uint32(100), { answerMs: 20 })).rejects.toThrow(/did not answer within 20 ms/);
    const { ec: signer } = await agentThatSigns(null, { signMs: 20 });
    await expect(signer.sign(BYTES)).rejects.toThrow(/did not answer within 20 ms/);
  });

  it("that is not there is told with what to look at", async () => {
    const agent = createSshAgent({ socket: "/nonexistent/agent" });
    await expect(agent.keys()).rejects.toThrow(/ENOENT.*SSH_AUTH_SOCK/);
  });

  it("is asked one thing at a time, and again after a failure", async () => {
    let asked = 0;
    const { socket, mostAtOnce } = await startStandInAgent(() => (++asked === 2 ? "close" : twoKeys));
    const agent = createSshAgent({ socket });
    const answers = await Promise.allSettled([agent.keys(), agent.keys(), agent.keys(), agent.keys()]);
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(mostAtOnce()).toBe(1);
  });
});
