// Records for tests, made by the module that the store uses, and signed heads of them.

import { CompactSign, exportJWK, generateKeyPair, type JWK } from "jose";
import { CHECKPOINT_TYPE } from "../../src/api/record.ts";
import { type SignedHead, verifyRecord } from "../../src/audit/verify-record.ts";
import { drawRandomPart } from "../../src/core/ids.ts";
import { EMPTY_HASH, type Head, placeLeaf } from "../../src/core/leaf.ts";

/** The lines of a record of so many entries; `start` goes on from another's head. */
export function makeRecord(
  entries: number,
  mark = "",
  start: Head = { seq: 0, hash: EMPTY_HASH },
): { lines: string[]; head: Head } {
  const lines: string[] = [];
  let head = start;
  for (let i = 0; i < entries; i++) {
    const fields = { type: "broker.stopped", policy: `${mark}${i}` };
    const leaf = placeLeaf({ random: drawRandomPart(), fields }, {}, head, 1_790_000_000_000 + i);
    lines.push(leaf.text);
    head = { seq: leaf.seq, hash: leaf.hash };
  }
  return { lines, head };
}

export interface HeadSigner {
  readonly publicJwk: JWK;
  sign(head: Head, type?: string): Promise<SignedHead>;
}

export async function makeHeadSigner(): Promise<HeadSigner> {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const publicJwk = await exportJWK(publicKey);
  return {
    publicJwk,
    sign: async ({ seq, hash }, type = CHECKPOINT_TYPE) => {
      const payload = Buffer.from(
        JSON.stringify({ iss: "https://valetkey.example", seq, hash, at: 1_790_000_000_000 }),
      );
      const checkpoint = await new CompactSign(payload)
        .setProtectedHeader({ alg: "ES256", typ: type })
        .sign(privateKey);
      return { checkpoint, key: publicJwk };
    },
  };
}

/** The positions that verification names; null stands for a head. */
export async function faultsOf(
  lines: readonly string[],
  ...checkpoints: readonly SignedHead[]
): Promise<readonly (number | null)[]> {
  return (await verifyRecord(lines, { checkpoints })).problems.map(({ seq }) => seq);
}
