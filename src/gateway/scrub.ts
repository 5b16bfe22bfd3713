// Blots the root credential out of what an upstream answers, in every form of `secret-forms.ts`, wherever chunks are
// split (semantics, rule 31). Never changes a length, never passes on what it could not search.

import { Transform } from "node:stream";
import { BrokerError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import { type Attempt, follow, formsOf, HEAD_BYTES, headsOf, type SecretForm, startAttempt } from "./secret-forms.ts";

export interface Scrubber {
  /** A header's value, where each character is a byte, or any other text. Each byte that is blotted out becomes `*`. */
  text(value: string): string;
  /** A whole body. */
  whole(bytes: Buffer): Buffer;
  /** Holds back nothing but a tail that may be the beginning of the secret, so that an event stream is not delayed. */
  stream(): Transform;
  /** How often the secret was found so far; what overlaps counts once. */
  readonly found: number;
}

interface Search {
  readonly forms: readonly SecretForm[];
  readonly heads: RegExp;
  readonly onFound: () => void;
}

interface Scan {
  /** What can be passed on after this chunk, which is never altered. */
  take(chunk: Buffer): Buffer;
  /** The rest. */
  end(): Buffer;
}

/** Bytes from `start` to before `end`. */
interface Blot {
  start: number;
  end: number;
}

const BLOT = "*";
/**
 * Following beginnings of the secret takes less than two steps a byte, but without bound more where an answer is full of
 * them and the secret repeats itself. So much is saved up for such places, and so much comes with each byte.
 */
const MAX_STEPS = 8_000_000;
const STEPS_PER_BYTE = 64;

/** The streams and texts throw `upstream_failed` where an answer is made so that searching it would not end. */
export function createScrubber(secret: Secret): Scrubber {
  let found = 0;
  const search = { ...compile(secret), onFound: () => void found++ };
  return {
    get found() {
      return found;
    },
    text: (value) => scrubText(search, value),
    whole: (bytes) => (mayHold(search, bytes.toString("latin1")) ? scrubWhole(search, bytes) : bytes),
    stream: () => {
      const scan = createScan(search);
      return new Transform({
        transform: (chunk: Buffer, _encoding, done) => finish(() => scan.take(chunk), done),
        flush: (done) => finish(() => scan.end(), done),
      });
    },
  };
}

/** What one root credential is searched by: made once, as long as it is open. */
const compiled = new WeakMap<Secret, Pick<Search, "forms" | "heads">>();

function compile(secret: Secret): Pick<Search, "forms" | "heads"> {
  const known = compiled.get(secret);
  if (known !== undefined) return known;
  const forms = formsOf(secret.reveal());
  const made = { forms, heads: headsOf(forms) };
  compiled.set(secret, made);
  return made;
}

/** False where no form even begins. Of whole inputs alone: in a part, a beginning may be cut. */
function mayHold({ heads }: Search, latin1: string): boolean {
  heads.lastIndex = 0;
  return heads.test(latin1);
}

function scrubWhole(search: Search, bytes: Buffer): Buffer {
  const scan = createScan(search);
  return Buffer.concat([scan.take(bytes), scan.end()]);
}

function finish(make: () => Buffer, done: (error: Error | null, bytes?: Buffer) => void): void {
  try {
    const bytes = make();
    done(null, bytes);
  } catch (thrown) {
    done(thrown instanceof Error ? thrown : new Error("the answer could not be searched", { cause: thrown }));
  }
}

function scrubText(search: Search, value: string): string {
  const isLatin1 = /^[\0-\xff]*$/.test(value);
  const scrubbed = isLatin1 ? scrubAs(search, value, "latin1") : value;
  // As one and the same bytes where all is ASCII; otherwise the secret may stand there in its own characters.
  return /^[\0-\x7f]*$/.test(scrubbed) ? scrubbed : scrubAs(search, scrubbed, "utf8");
}

function scrubAs(search: Search, value: string, encoding: "latin1" | "utf8"): string {
  if (encoding === "latin1" && !mayHold(search, value)) return value;
  const bytes = Buffer.from(value, encoding);
  const scrubbed = scrubWhole(search, bytes);
  return scrubbed.equals(bytes) ? value : scrubbed.toString(encoding);
}

function createScan({ forms, heads, onFound }: Search): Scan {
  /** Not passed on yet; it begins where the first unfinished attempt does. */
  let held: Buffer = Buffer.alloc(0);
  /** In the order of their starts. Their places, and those of blots, count from the first byte held. */
  let unfinished: Attempt[] = [];
  let blots: Blot[] = [];
  let steps = MAX_STEPS;

  const blotOut = (start: number, end: number): void => {
    const last = blots.at(-1);
    if (last !== undefined && start < last.end && last.start < end) {
      last.start = Math.min(last.start, start);
      last.end = Math.max(last.end, end);
      return;
    }
    blots.push({ start, end });
    onFound();
  };

  /** Tries each place of the input once; what the input's end leaves open goes on with the next chunk. */
  const searchIn = (input: Buffer, from: number): void => {
    steps = Math.min(steps + (input.length - from) * STEPS_PER_BYTE, MAX_STEPS);
    const open: Attempt[] = [];
    const go = (attempt: Attempt): void => {
      const before = attempt.at;
      const outcome = follow(attempt, input);
      steps -= attempt.at - before + 1;
      if (steps < 0) throw new BrokerError("upstream_failed", "the answer cannot be searched for the root credential");
      if (outcome === "found") blotOut(attempt.start, attempt.at);
      else if (outcome === "unfinished") open.push(attempt);
    };
    for (const attempt of unfinished) go(attempt);
    for (const at of placesIn(input, from, heads)) {
      for (const form of forms) go(startAttempt(form, at));
    }
    unfinished = open;
  };

  /** The input up to there, blotted; the rest is held. */
  const pass = (input: Buffer, end: number): Buffer => {
    const isBlotted = blots.some(({ start }) => start < end);
    const passed = isBlotted ? Buffer.from(input.subarray(0, end)) : input.subarray(0, end);
    for (const blot of blots) passed.fill(BLOT, Math.min(blot.start, end), Math.min(blot.end, end));
    held = input.subarray(end);
    blots = blots
      .filter((blot) => blot.end > end)
      .map((blot) => ({ start: Math.max(blot.start - end, 0), end: blot.end - end }));
    unfinished = unfinished.map((one) => ({ ...one, start: one.start - end, at: one.at - end }));
    return passed;
  };

  return {
    take: (chunk) => {
      const input = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      searchIn(input, held.length);
      return pass(input, unfinished[0]?.start ?? input.length);
    },
    end: () => {
      unfinished = [];
      return pass(held, held.length);
    },
  };
}

/** Where a form may begin, from there on, and every place at the end, where the rest of a beginning may be yet to come. */
function* placesIn(input: Buffer, from: number, heads: RegExp): Iterable<number> {
  const text = input.toString("latin1", from);
  const tail = Math.max(text.length - HEAD_BYTES + 1, 0);
  heads.lastIndex = 0;
  for (let found = heads.exec(text); found !== null && found.index < tail; found = heads.exec(text)) {
    yield from + found.index;
    // Beginnings may overlap.
    heads.lastIndex = found.index + 1;
  }
  for (let at = tail; at < text.length; at++) yield from + at;
}
