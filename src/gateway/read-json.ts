// JSON of which no two parsers can make different things: what JSON.parse takes, without duplicate members, lone
// surrogates and numbers that a double does not hold (semantics, rule 28). Repairs nothing, repeats nothing it read.

import { createScanner, type JSONScanner, type SyntaxKind } from "jsonc-parser";
import { BrokerError } from "../core/errors.ts";
import type { ArgumentValue } from "../scopes/scope-set.ts";

const MAX_DEPTH = 64;
const MAX_VALUES = 20_000;
const MAX_SPACES = 262_144;
/** More say nothing that a double holds, and take time to compare. */
const MAX_NUMBER_LENGTH = 128;

// Its enum is made for compilers that inline it; the types hold the numbers to it.
const OPEN_BRACE: SyntaxKind.OpenBraceToken = 1;
const CLOSE_BRACE: SyntaxKind.CloseBraceToken = 2;
const OPEN_BRACKET: SyntaxKind.OpenBracketToken = 3;
const CLOSE_BRACKET: SyntaxKind.CloseBracketToken = 4;
const COMMA: SyntaxKind.CommaToken = 5;
const NULL: SyntaxKind.NullKeyword = 7;
const TRUE: SyntaxKind.TrueKeyword = 8;
const FALSE: SyntaxKind.FalseKeyword = 9;
const STRING: SyntaxKind.StringLiteral = 10;
const NUMBER: SyntaxKind.NumericLiteral = 11;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Reading {
  readonly scanner: JSONScanner;
  values: number;
}

/** Objects have no prototype, so that a member is there only when it was sent. Throws `malformed_request`. */
export function parseStrictJson(bytes: Uint8Array): ArgumentValue {
  // Before anything makes objects of it: each value but the first follows one of these, and texts have few of them.
  if (countValues(bytes) > MAX_VALUES) throw malformed(`expected at most ${MAX_VALUES} values in the JSON`);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw malformed("expected JSON in UTF-8", cause);
  }
  if (text.startsWith("\ufeff")) throw malformed("expected JSON without a byte order mark");
  try {
    // Decides on the grammar. What it returns has already lost the duplicates.
    JSON.parse(text);
  } catch (cause) {
    throw malformed("expected JSON (RFC 8259), and nothing else", cause);
  }
  const reading = { scanner: createScanner(text, true), values: 0 };
  return readValue(reading, reading.scanner.scan(), 0);
}

/** Commas and opening brackets outside of texts: never fewer than half of the values. Infinite where all is space. */
function countValues(bytes: Uint8Array): number {
  let [count, spaces, isText] = [0, 0, false];
  for (let at = 0; at < bytes.length && count <= MAX_VALUES; at++) {
    const byte = bytes[at] ?? 0;
    if (isText && byte === 0x5c) at++;
    else if (byte === 0x22) isText = !isText;
    else if (!isText && (byte === 0x2c || byte === 0x5b || byte === 0x7b)) count++;
    else if (!isText && byte <= 0x20 && ++spaces > MAX_SPACES) return Infinity;
  }
  return count;
}

// INVARIANT: the text is valid JSON, established above: between tokens there is nothing left to check.
function readValue(reading: Reading, token: SyntaxKind, depth: number): ArgumentValue {
  if (++reading.values > MAX_VALUES) throw malformed(`expected at most ${MAX_VALUES} values in the JSON`);
  const { scanner } = reading;
  switch (token) {
    case OPEN_BRACE:
      return readObject(reading, depth + 1);
    case OPEN_BRACKET:
      return readArray(reading, depth + 1);
    case STRING:
      return readText(scanner);
    case NUMBER:
      return readNumber(scanner);
    case TRUE:
      return true;
    case FALSE:
      return false;
    case NULL:
      return null;
    default:
      throw new TypeError("the scanner and JSON.parse disagree about what is JSON");
  }
}

function readObject(reading: Reading, depth: number): ArgumentValue {
  checkDepth(depth);
  const { scanner } = reading;
  // Without a prototype `__proto__` is a name like any other.
  // `Object.create` is typed as any; a fresh object has no members of another type.
  const members = Object.create(null) as Record<string, ArgumentValue>;
  for (let token = scanner.scan(); token !== CLOSE_BRACE; token = scanner.scan()) {
    if (token === COMMA) continue;
    const name = readText(scanner);
    if (name in members) throw malformed(`expected each member of an object once${place(scanner)}`);
    scanner.scan();
    members[name] = readValue(reading, scanner.scan(), depth);
  }
  return members;
}

function readArray(reading: Reading, depth: number): ArgumentValue {
  checkDepth(depth);
  const items: ArgumentValue[] = [];
  for (let token = reading.scanner.scan(); token !== CLOSE_BRACKET; token = reading.scanner.scan()) {
    if (token !== COMMA) items.push(readValue(reading, token, depth));
  }
  return items;
}

function checkDepth(depth: number): void {
  if (depth > MAX_DEPTH) throw malformed(`expected JSON of at most ${MAX_DEPTH} levels`);
}

function readText(scanner: JSONScanner): string {
  const text = scanner.getTokenValue();
  if (!text.isWellFormed()) throw malformed(`expected no half of a surrogate pair in the JSON${place(scanner)}`);
  return text;
}

function readNumber(scanner: JSONScanner): number {
  const text = scanner.getTokenValue();
  const value = text.length > MAX_NUMBER_LENGTH ? Infinity : Number(text);
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    throw malformed(`expected numbers between -(2^53 - 1) and 2^53 - 1${place(scanner)}: send others as text`);
  }
  const written = String(value);
  if (written !== text && (Object.is(value, -0) || decimalOf(written) !== decimalOf(text))) {
    throw malformed(`expected numbers that a double holds exactly as written${place(scanner)}: send others as text`);
  }
  return value;
}

/** Equal for equal numbers, however they are written: the digits from the first to the last that counts, and its place. */
function decimalOf(text: string): string {
  const [, sign = "", whole = "", fraction = "", exponent = "0"] =
    /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text) ?? [];
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return "0";
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

function place(scanner: JSONScanner): string {
  return `, found otherwise at character ${scanner.getTokenOffset() + 1}`;
}

function malformed(detail: string, cause?: unknown): BrokerError {
  return new BrokerError("malformed_request", detail, { cause });
}
