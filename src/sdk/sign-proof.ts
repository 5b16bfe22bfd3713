// Makes proofs of identity: a fresh single-use assertion for every call, signed with the caller's own key.
// The key stays with its signer; nothing here sees it.

import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { PROOF_TYPE, proofClaims } from "../core/proof.ts";
import { signerFrom, type SigningKey } from "./signer.ts";

const JTI_BYTES = 16;

export type SignProof = () => Promise<string>;

/** For `name` at `issuer`. Throws ValetkeyError where the key cannot sign. */
export function createProofSigner(name: string, key: SigningKey, issuer: string, clock: Clock): SignProof {
  const find = signerFrom(key);
  return async () => {
    const signer = await find();
    const claims = proofClaims(name, issuer, clock.now(), randomBytes(JTI_BYTES).toString("base64url"));
    const input = `${encode({ typ: PROOF_TYPE, alg: signer.alg, kid: signer.kid })}.${encode(claims)}`;
    return `${input}.${Buffer.from(await signer.sign(Buffer.from(input))).toString("base64url")}`;
  };
}

function encode(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
