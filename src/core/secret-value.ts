// What can be a root credential, wherever it comes from: the API, the environment, a mounted file, standard input.
// Pure. Never repeats a value, whole or in part.

/** Shorter ones could not be found in an upstream's answer without blotting out ordinary text. */
const MIN_SECRET_BYTES = 8;
export const MAX_SECRET_BYTES = 16_384;

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** Why these bytes cannot be a root credential, after the words "the value"; or null. */
export function findValueFault(bytes: Uint8Array): string | null {
  if (bytes.length < MIN_SECRET_BYTES)
    return bytes.length === 0
      ? "is empty: is the variable or the file there?"
      : `has less than ${MIN_SECRET_BYTES} bytes`;
  if (bytes.length > MAX_SECRET_BYTES) return `has more than ${MAX_SECRET_BYTES} bytes`;
  if (bytes.includes(0)) return "has a zero byte: it must be text";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return null;
  } catch {
    return "is not UTF-8: it must be text";
  }
}

/** Without the one line end that editors, `echo` and orchestrators leave behind a value. */
export function withoutLineEnd(bytes: Uint8Array): Uint8Array {
  if (bytes.at(-1) !== LINE_FEED) return bytes;
  return bytes.subarray(0, bytes.at(-2) === CARRIAGE_RETURN ? -2 : -1);
}
