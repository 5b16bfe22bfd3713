// What decoys look like: for each kind how one is made, and how to find what might be one in a text. Pure.
// Shapes and checksums are the providers' own, so that whoever finds a decoy, or a scanner, takes it for real.

import { unescape } from "node:querystring";
import { crc32 } from "node:zlib";
import { CANARY_KINDS, type CanaryKind } from "../api/secrets.ts";

/** So many characters, each drawn evenly from the alphabet. */
export type Draw = (alphabet: string, length: number) => string;

export interface MadeDecoy {
  /** What a request carries: the decoy is known by this. */
  readonly key: string;
  /** What is shown once, to be planted. */
  readonly value: string;
}

interface Shape {
  readonly make: (draw: Draw) => MadeDecoy;
  /** Stands in every one, so many characters from its start: what is searched for in a text. */
  readonly mark: string;
  readonly markAt: number;
  readonly length: number;
  /** The one form of it that is hashed, or null where these characters cannot be one. */
  readonly read: (found: string) => string | null;
}

const DIGITS = "0123456789";
const UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE62 = `${DIGITS}${UPPER}${UPPER.toLowerCase()}`;
const BASE32 = `${UPPER}234567`;
const HEX = `${DIGITS}abcdef`;
const GITHUB_RANDOM = 30;
const GITHUB_CHECKSUM = 6;
const STRIPE_PREFIX = "sk_live_51";
const STRIPE_RANDOM = 97;
const UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i;

const SHAPES: Readonly<Record<CanaryKind, Shape>> = {
  railway: {
    make: (draw) => {
      const hex = (length: number): string => draw(HEX, length);
      return alone(`${hex(8)}-${hex(4)}-4${hex(3)}-${draw("89ab", 1)}${hex(3)}-${hex(12)}`);
    },
    mark: "-4",
    markAt: 13,
    length: 36,
    read: (found) => (UUID.test(found) ? found.toLowerCase() : null),
  },
  github: {
    make: (draw) => {
      const random = draw(BASE62, GITHUB_RANDOM);
      return alone(`ghp_${random}${githubChecksum(random)}`);
    },
    mark: "ghp_",
    markAt: 0,
    length: 40,
    read: (found) => (found.endsWith(githubChecksum(found.slice(4, -GITHUB_CHECKSUM))) ? found : null),
  },
  stripe: {
    make: (draw) => alone(`${STRIPE_PREFIX}${draw(BASE62, STRIPE_RANDOM)}`),
    mark: STRIPE_PREFIX,
    markAt: 0,
    length: STRIPE_PREFIX.length + STRIPE_RANDOM,
    read: (found) => (/^\w+$/.test(found) ? found : null),
  },
  aws: {
    // Every signed request names the id, and none carries the secret.
    make: (draw) => {
      const key = `AKIA${draw(BASE32, 16)}`;
      return { key, value: `aws_access_key_id = ${key}\naws_secret_access_key = ${draw(`${BASE62}+/`, 40)}` };
    },
    mark: "AKIA",
    markAt: 0,
    length: 20,
    read: (found) => (/^[A-Z2-7]+$/.test(found) ? found : null),
  },
};

function alone(key: string): MadeDecoy {
  return { key, value: key };
}

/** GitHub's: CRC-32 of the random part, in base 62, padded with zeros. */
function githubChecksum(random: string): string {
  let text = "";
  for (let rest = crc32(random); rest > 0; rest = Math.floor(rest / 62)) text = BASE62.charAt(rest % 62) + text;
  return text.padStart(GITHUB_CHECKSUM, "0");
}

export function isCanaryKind(text: string): text is CanaryKind {
  return CANARY_KINDS.some((kind) => kind === text);
}

export function makeDecoy(like: CanaryKind, draw: Draw): MadeDecoy {
  return SHAPES[like].make(draw);
}

/** What might be a decoy of this kind, also where one overlaps another. */
export function* findCandidates(like: CanaryKind, text: string): Iterable<string> {
  const { mark, markAt, length, read } = SHAPES[like];
  // Not an expression over the whole text: this finds nothing in a text of a MiB about as quickly as it is read.
  for (let at = text.indexOf(mark, markAt); at >= 0; at = text.indexOf(mark, at + 1)) {
    const start = at - markAt;
    if (start + length > text.length) return;
    const key = read(text.slice(start, start + length));
    if (key !== null) yield key;
  }
}

/** A header's whole value: RFC 7617. */
const BASIC = /^\s*basic +([\w+/-]+)/i;

/** The text, and what it says below one layer of percent-encoding, JSON's escapes or Basic credentials. */
export function* readings(text: string): Iterable<string> {
  yield text;
  // Two backslashes: a string of GraphQL inside one of JSON.
  const escaped = text.includes("\\u") ? text.replace(/\\{1,2}u00([\da-f]{2})/gi, "%$1") : text;
  // Does not throw at what is not well-formed, unlike `decodeURIComponent`.
  if (escaped.includes("%")) yield unescape(escaped);
  const [, encoded] = BASIC.exec(text) ?? [];
  if (encoded !== undefined) yield Buffer.from(encoded, "base64").toString("latin1");
}
