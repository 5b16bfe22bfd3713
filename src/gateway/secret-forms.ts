// The ways in which a root credential may be written in an upstream's answer, and how one of them is followed byte by
// byte. Pure. A provider can always invent another way; these are those that servers use without meaning harm.

/** Ordinary text would be blotted out if anything shorter were searched. */
const MIN_FORM_BYTES = 6;

/**
 * One text, any character of which may stand as it is, percent-encoded where `percent` (RFC 3986, `+` for a space too)
 * and escaped as in a JSON string where `json`: whichever characters an encoder takes for reserved, in either case of
 * hexadecimal digits.
 */
export interface SecretForm {
  readonly text: Uint8Array;
  /** For each byte another one that may stand in its place, or itself. */
  readonly twins: Uint8Array;
  readonly percent: boolean;
  readonly json: boolean;
  /** Whether line ends may stand within it, where encoders put them (RFC 2045 section 6.8). */
  readonly lines: boolean;
}

/** One place where a form may begin, and how far it was followed. */
export interface Attempt {
  readonly form: SecretForm;
  readonly start: number;
  /** The next byte of the input, always the first of a character or an escape. */
  at: number;
  /** The next byte of the form's text. */
  index: number;
  /** Line ends passed over since the last character: what is held back stays bounded. */
  breaks: number;
}

const [PERCENT, BACKSLASH, PLUS, SPACE, LOWER_U] = [0x25, 0x5c, 0x2b, 0x20, 0x75];
const LINE_ENDS: readonly number[] = [0x0a, 0x0d];
const NO_DIGIT = 16;
/** Enough for a beginning to be rare. */
const HEAD_CHARACTERS = 4;
/** CR and LF between two characters, each as it is or escaped in JSON. */
const MAX_BREAKS = 2;
const LINE_BREAK = String.raw`(?:[\r\n]|\\[rn]|\\u000[aAdD]){0,${MAX_BREAKS}}`;
/** Each character, and each line end between two, is at most as long as `\u0041`. */
export const HEAD_BYTES = 6 * (HEAD_CHARACTERS + MAX_BREAKS * (HEAD_CHARACTERS - 1));

const NONE = twinsOf([]);
/** RFC 4648 section 5. */
const BASE64_URL = twinsOf(["+-", "/_"]);
const HEX = twinsOf(["aA", "bB", "cC", "dD", "eE", "fF"]);
const DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? NO_DIGIT : digit;
});
/** RFC 8259 section 7: what a backslash and one character stand for. */
const SHORT_ESCAPES: ReadonlyMap<number, number> = new Map(
  [`""`, "\\\\", "//", "b\b", "f\f", "n\n", "r\r", "t\t"].map((pair) => [pair.charCodeAt(0), pair.charCodeAt(1)]),
);

function twinsOf(pairs: readonly string[]): Uint8Array {
  const twins = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const pair of pairs) {
    twins[pair.charCodeAt(0)] = pair.charCodeAt(1);
    twins[pair.charCodeAt(1)] = pair.charCodeAt(0);
  }
  return twins;
}

/** At most eight; none for a secret that is too short to be searched for. */
export function formsOf(secret: Uint8Array): readonly SecretForm[] {
  const bytes = Buffer.from(secret);
  const texts = [0, 1, 2].map((bytesBefore) => ({ text: base64Core(bytes, bytesBefore), twins: BASE64_URL }));
  const escaped = { percent: true, json: true };
  return [
    ...spellingsOf(bytes).map((spelling) => ({ text: bytes, twins: NONE, ...spelling, lines: false })),
    ...texts.map((one) => ({ ...one, ...escaped, lines: true })),
    { text: Buffer.from(bytes.toString("hex")), twins: HEX, ...escaped, lines: true },
  ].filter(({ text }) => text.length >= MIN_FORM_BYTES);
}

/** Where the secret has the signs of an escape itself, what is one and what is not differs between encoders. */
function spellingsOf(bytes: Buffer): readonly Pick<SecretForm, "percent" | "json">[] {
  const both = { percent: true, json: true };
  if (!bytes.includes(PERCENT) && !bytes.includes(BACKSLASH)) return [both];
  return [both, { percent: true, json: false }, { percent: false, json: true }, { percent: false, json: false }];
}

/** The characters that the secret alone decides when so many bytes, modulo three, precede it. */
function base64Core(secret: Buffer, bytesBefore: number): Buffer {
  const encoded = Buffer.concat([Buffer.alloc(bytesBefore), secret]).toString("base64");
  const bits = 8 * (bytesBefore + secret.length);
  return Buffer.from(encoded.slice(Math.ceil((8 * bytesBefore) / 6), Math.floor(bits / 6)));
}

/**
 * Finds, in bytes read as Latin-1, every place where a form may begin, and some where none does: at the speed of the
 * engine, so that few places are left to `follow`. No beginning has more than `HEAD_BYTES` bytes.
 */
export function headsOf(forms: readonly SecretForm[]): RegExp {
  return new RegExp(forms.length === 0 ? "(?!)" : forms.map(headOf).join("|"), "g");
}

/** Its first characters, each in every spelling. */
function headOf(form: SecretForm): string {
  const first = form.text.subarray(0, HEAD_CHARACTERS);
  // The escape of a character beyond ASCII names all of its bytes at once: such a one is looked for by its beginning.
  const beyond = form.json ? first.findIndex((byte) => byte >= 0x80) : -1;
  if (beyond === 0) return `(?:${spell(form, first.subarray(0, 1))}|\\\\u)`;
  return spell(form, beyond < 0 ? first : first.subarray(0, beyond));
}

function spell({ twins, percent, json, lines }: SecretForm, bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => {
    const either = byte === twins[byte] ? [byte] : [byte, twins[byte] ?? byte];
    const digits = either.map(anyCase);
    const short = json ? SHORT_ESCAPES.entries().find(([, code]) => code === byte)?.[0] : undefined;
    const spellings = [
      `[${either.map(inClass).join("")}${percent && byte === SPACE ? "+" : ""}]`,
      ...(percent ? [`%(?:${digits.join("|")})`] : []),
      ...(json ? [`\\\\u00(?:${digits.join("|")})`] : []),
      ...(short === undefined ? [] : [`\\\\[${inClass(short)}]`]),
    ];
    return `(?:${spellings.join("|")})`;
  }).join(lines ? LINE_BREAK : "");
}

function inClass(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

function anyCase(byte: number): string {
  const digits = byte.toString(16).padStart(2, "0");
  return digits.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
}

export function startAttempt(form: SecretForm, start: number): Attempt {
  return { form, start, at: start, index: 0, breaks: 0 };
}

/** Follows the attempt through the input: to the form's end, to what is not the form, or until the input ends. */
export function follow(attempt: Attempt, input: Uint8Array): "found" | "failed" | "unfinished" {
  const { text, twins, percent, json, lines } = attempt.form;
  let { at, index, breaks } = attempt;
  let bytes = 1;
  const passesOver = (code: number | null): boolean =>
    lines && code !== null && LINE_ENDS.includes(code) && index > 0 && ++breaks <= MAX_BREAKS;
  while (bytes > 0 && index < text.length && at < input.length) {
    const byte = input[at] ?? 0;
    const before = index;
    if (byte === PERCENT && percent) {
      if (at + 2 >= input.length) break;
      const encoded = readHex(input, at + 1, 2);
      bytes = encoded >= 0 && (encoded === text[index] || twins[encoded] === text[index]) ? 3 : 0;
      if (bytes > 0) index++;
    } else if (byte === BACKSLASH && json) {
      const escape = readEscape(input, at);
      if (escape === null) break;
      const matched = escape.code === null ? 0 : matchCharacter(escape.code, attempt.form, index);
      bytes = matched > 0 || passesOver(escape.code) ? escape.bytes : 0;
      index += matched;
    } else if (passesOver(byte)) {
      bytes = 1;
    } else {
      const wanted = text[index];
      bytes = byte === wanted || twins[byte] === wanted || (percent && byte === PLUS && wanted === SPACE) ? 1 : 0;
      index += bytes;
    }
    at += bytes;
    if (index > before) breaks = 0;
  }
  attempt.at = at;
  attempt.index = index;
  attempt.breaks = breaks;
  if (index === text.length) return "found";
  return bytes > 0 ? "unfinished" : "failed";
}

/** -1 where a digit is none. */
function readHex(input: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let i = at; i < at + digits; i++) {
    const digit = DIGITS[input[i] ?? 0] ?? NO_DIGIT;
    if (digit === NO_DIGIT) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/** The escape that begins here with its code point, or with null where it is none. Null: the input ends within it. */
function readEscape(input: Uint8Array, at: number): { readonly code: number | null; readonly bytes: number } | null {
  const kind = input[at + 1];
  if (kind === undefined) return null;
  if (kind !== LOWER_U) return { code: SHORT_ESCAPES.get(kind) ?? null, bytes: 2 };
  if (at + 5 >= input.length) return null;
  const unit = readHex(input, at + 2, 4);
  if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return { code: null, bytes: 6 };
  if (unit < 0xd800 || unit > 0xdbff) return { code: unit, bytes: 6 };
  if (at + 11 >= input.length) return null;
  const low = input[at + 6] === BACKSLASH && input[at + 7] === LOWER_U ? readHex(input, at + 8, 4) : 0;
  if (low < 0xdc00 || low > 0xdfff) return { code: null, bytes: 6 };
  return { code: 0x10000 + (unit - 0xd800) * 0x400 + (low - 0xdc00), bytes: 12 };
}

/** How many bytes of the form's text this character stands for in UTF-8; 0 where it is another one. */
function matchCharacter(code: number, { text, twins }: SecretForm, index: number): number {
  if (code < 0x80) return code === text[index] || twins[code] === text[index] ? 1 : 0;
  const bytes = Buffer.from(String.fromCodePoint(code));
  return bytes.every((byte, place) => byte === text[index + place]) ? bytes.length : 0;
}
