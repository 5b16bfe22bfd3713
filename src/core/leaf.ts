// One entry of the record: RFC 8785 bytes that name their position and the hash of the entry before.
// Hashed as an RFC 6962 leaf, so that a Merkle tree over the same bytes can come later. Pure; engines and verifiers share it.

import { hash as digest } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import { type Instant, toTimestamp } from "./clock.ts";
import { makeId } from "./ids.ts";

/** tlog-tiles writes a length in 16 bits; an entry that does not fit is refused, never cut. */
export const MAX_LEAF_BYTES = 65_535;
/** What the first entry links to: the hash of an empty RFC 6962 tree. */
export const EMPTY_HASH = digest("sha256", "", "hex");

/** Where the record ends. */
export interface Head {
  /** Number of entries; the last one's `seq`. */
  readonly seq: number;
  /** Leaf hash of the last entry, lower-case hexadecimal. */
  readonly hash: string;
}

export interface Leaf {
  readonly seq: number;
  readonly text: string;
  readonly hash: string;
}

/** Fields that an entry gets when it is given its place; a draft may not carry them. */
export const PLACED_FIELDS = ["id", "seq", "time", "previous"] as const;

/** What is known of an event before it has a place. `random` becomes the random part of its id. */
export interface LeafDraft {
  readonly random: string;
  readonly fields: { readonly type: string } & Readonly<Record<string, unknown>>;
}

/** RFC 6962 section 2.1: SHA-256 of a zero byte and the entry. */
export function hashLeaf(text: string): string {
  return digest("sha256", `\0${text}`, "hex");
}

/**
 * Gives a draft its place after `head`. `ids` are those that only the store could make (a grant's, a cut-off's).
 * Throws RangeError where the entry would be larger than a leaf may be.
 */
export function placeLeaf(draft: LeafDraft, ids: Readonly<Record<string, string>>, head: Head, instant: Instant): Leaf {
  const seq = head.seq + 1;
  const text = canonicalJson({
    ...draft.fields,
    ...ids,
    id: makeId("evt", instant, draft.random),
    seq,
    time: toTimestamp(instant),
    previous: head.hash,
  });
  if (Buffer.byteLength(text) > MAX_LEAF_BYTES)
    throw new RangeError("an entry of the record is larger than a leaf may be");
  return { seq, text, hash: hashLeaf(text) };
}
