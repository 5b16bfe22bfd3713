// Forms (application/x-www-form-urlencoded) as the tree that servers make of their brackets: `a[b][0]=x`. Where servers
// differ in what they make of it, the form is refused (semantics, rule 29). Pure; repairs nothing.

import { BrokerError } from "../core/errors.ts";
import type { ArgumentValue } from "../scopes/scope-set.ts";

const MAX_PAIRS = 500;
const MAX_DEPTH = 10;

/** RFC 3986 leaves these as they are or has them encoded; brackets stand as they are with many clients. Not `;`, where some servers split. */
const REFUSED = /[^A-Za-z0-9._~!$'()*+,:@/?=%[\]-]/;
const NAME = /^[^[\]]+(?:\[[^[\]]+\])*(?:\[\])?$/;
const INDEX = /^(?:0|[1-9][0-9]*)$/;
const CONTROLS = /\p{Cc}/u;
const CONTROLS_BUT_LINES = /[^\P{Cc}\n\r\t]/u;

type Members = Record<string, ArgumentValue>;

/** Objects have no prototype; values are texts. An empty text is an empty form. Throws `malformed_request`. */
export function parseForm(text: string): ArgumentValue {
  const form = makeObject();
  const pieces = text === "" ? [] : text.split("&");
  if (pieces.length > MAX_PAIRS) throw malformed(`expected at most ${MAX_PAIRS} fields`);
  for (const piece of pieces) {
    const { name, value } = readPair(piece);
    put(form, name, value);
  }
  return form;
}

/** `+` is a space, percent-encodings are UTF-8. Null where they are not. */
export function decodeFormText(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return null;
  }
}

function readPair(piece: string): { readonly name: string; readonly value: string } {
  const equals = piece.indexOf("=");
  if (equals < 1 || REFUSED.test(piece)) {
    throw malformed("expected name=value pairs joined by '&', with all else but letters and digits encoded");
  }
  const name = decodeFormText(piece.slice(0, equals));
  const value = decodeFormText(piece.slice(equals + 1));
  if (name === null || value === null) throw malformed("expected the encodings to be UTF-8");
  if (CONTROLS.test(name) || CONTROLS_BUT_LINES.test(value)) {
    throw malformed("expected no control characters but tabs and line ends in values");
  }
  return { name, value };
}

/** Servers read the brackets of a name after decoding it. */
function put(form: Members, name: string, value: string): void {
  if (!NAME.test(name)) throw malformed("expected names like a, a[b] and a[b][0], and [] at their end alone");
  const keys = name.split("[").map((key, place) => (place === 0 ? key : key.slice(0, -1)));
  if (keys.length > MAX_DEPTH) throw malformed(`expected names of at most ${MAX_DEPTH} levels`);
  let container: Members | ArgumentValue[] = form;
  for (const [place, key] of keys.entries()) {
    const inner = keys[place + 1];
    const found = Array.isArray(container) ? container[Number(key)] : container[key];
    if (inner === undefined) {
      if (found !== undefined) throw malformed("expected each field once, and none both with and without brackets");
      add(container, key, value);
      return;
    }
    if (found === undefined) add(container, key, isItem(inner) ? [] : makeObject());
    container = asContainer(Array.isArray(container) ? container[Number(key)] : container[key], inner);
  }
}

/** `[]` is the first item. */
function isItem(key: string): boolean {
  return key === "" || INDEX.test(key);
}

function add(container: Members | ArgumentValue[], key: string, value: ArgumentValue): void {
  if (!Array.isArray(container)) {
    container[key] = value;
    return;
  }
  // Some servers close the gaps of a list, some fill them, some make an object of it; and few mix `[]` with numbers.
  if (Number(key) !== container.length || Object.isFrozen(container)) {
    throw malformed("expected the items of a list as [0], [1] and so on, or one as []");
  }
  container.push(value);
  if (key === "") Object.freeze(container);
}

/** What an earlier field made, or this one just now, for a key of the same kind. */
function asContainer(made: ArgumentValue | undefined, key: string): Members | ArgumentValue[] {
  if (typeof made !== "object" || made === null || Array.isArray(made) !== isItem(key)) {
    throw malformed("expected a field to be a text, a list or an object, found it as two of these");
  }
  // Made by `put`, which alone has it: not readonly yet.
  return made as Members | ArgumentValue[];
}

function makeObject(): Members {
  // `Object.create` is typed as any; a fresh object has no members of another type.
  return Object.create(null) as Members;
}

function malformed(expected: string): BrokerError {
  return new BrokerError("malformed_request", `the form is not acceptable: ${expected}`);
}
