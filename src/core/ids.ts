// Prefixed ids that sort by time: `grt_` and a 26-character ULID (48 bits of milliseconds, 80 random bits).
// INVARIANT: a grant's id carries the instant that the store gave it; cut-offs compare that (semantics, rule 12).

import { randomBytes } from "node:crypto";
import type { Instant } from "./clock.ts";

export type GrantId = `grt_${string}`;
export type RevocationId = `rev_${string}`;
export type EventId = `evt_${string}`;
export type CredentialId = `crd_${string}`;
export type RequestId = `req_${string}`;
export type KeyId = `key_${string}`;
export type CanaryId = `can_${string}`;
export type HoldId = `hld_${string}`;
export type AttestationId = `att_${string}`;

interface IdKinds {
  grt: GrantId;
  rev: RevocationId;
  evt: EventId;
  crd: CredentialId;
  req: RequestId;
  key: KeyId;
  can: CanaryId;
  hld: HoldId;
  att: AttestationId;
}

/** Crockford's base 32: no I, L, O, U. */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_CHARACTERS = 10;
const RANDOM_CHARACTERS = 16;
/** 48 bits. */
const MAX_INSTANT = 2 ** 48 - 1;

/** Asking the system for 16 bytes costs as much as for 4096: they are drawn in stock, and each is used once. */
const POOL_BYTES = 4096;
let pool: Buffer = Buffer.alloc(0);
let used = 0;

/** 80 random bits as 16 characters: the part of an id that can be drawn before its instant is known. */
export function drawRandomPart(): string {
  if (used + RANDOM_CHARACTERS > pool.length) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  let text = "";
  // 256 is a multiple of 32: the low five bits of a random byte are uniform.
  for (const byte of pool.subarray(used, used + RANDOM_CHARACTERS)) text += ALPHABET.charAt(byte & 31);
  used += RANDOM_CHARACTERS;
  return text;
}

/** Puts prefix, instant and random part together. Throws on an instant outside 48 bits. */
export function makeId<Kind extends keyof IdKinds>(kind: Kind, instant: Instant, randomPart: string): IdKinds[Kind] {
  if (!Number.isSafeInteger(instant) || instant < 0 || instant > MAX_INSTANT) {
    throw new RangeError("an id needs an instant of at most 48 bits");
  }
  let time = "";
  for (let rest = instant, i = 0; i < TIME_CHARACTERS; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  // The template is what the id types promise; TypeScript cannot derive it from a generic prefix.
  return `${kind}_${time}${randomPart}` as IdKinds[Kind];
}

/** A new id of a kind whose instant is the caller's own clock. */
export function newId<Kind extends keyof IdKinds>(kind: Kind, instant: Instant): IdKinds[Kind] {
  return makeId(kind, instant, drawRandomPart());
}

/** True for a well-formed id of this kind. */
export function isId<Kind extends keyof IdKinds>(kind: Kind, text: string): text is IdKinds[Kind] {
  if (text.length !== kind.length + 1 + TIME_CHARACTERS + RANDOM_CHARACTERS) return false;
  if (!text.startsWith(`${kind}_`)) return false;
  // The first character of a ULID is at most 7: more would not fit 48 bits.
  if (text.charAt(kind.length + 1) > "7") return false;
  for (let i = kind.length + 1; i < text.length; i++) if (!ALPHABET.includes(text.charAt(i))) return false;
  return true;
}

/** The instant that an id carries. The id must be well-formed (`isId`). */
export function instantOf(id: string): Instant {
  const start = id.indexOf("_") + 1;
  let instant = 0;
  for (let i = start; i < start + TIME_CHARACTERS; i++) instant = instant * 32 + ALPHABET.indexOf(id.charAt(i));
  return instant;
}
