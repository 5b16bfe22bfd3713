// Which resources a call is on: `volume/{id}`, `object/{body.path+}`, filled in from the call's arguments, and read back.
// A value makes a resource only as it stands: nothing is trimmed, cut or guessed, and what is missing is a fault (rule 28).

import { isResource } from "../core/names.ts";
import type { ArgumentValue } from "./scope-set.ts";

export interface ResourceTemplate {
  readonly text: string;
  /** What stands between the braces, without `+`, in order: `id`, `input.environmentId`, `header.stripe-account`. */
  readonly parameters: readonly string[];
  readonly segments: readonly (string | Placeholder)[];
}

interface Placeholder {
  readonly text: string;
  /** From the arguments inwards. */
  readonly names: readonly string[];
  /** `{name+}`: may hold slashes, and stands at the end. */
  readonly isRest: boolean;
}

type Arguments = Readonly<Record<string, ArgumentValue>>;

const MAX_RESOURCES = 100;
const MAX_NAMES = 16;
const LITERAL = /^[A-Za-z0-9._~@+=-]{1,128}$/;

/** How a definition can name an argument: no dots, which part names, and no wildcards. */
export function isArgumentName(text: string): boolean {
  return /^[A-Za-z0-9_$@:[\]-]{1,128}$/.test(text);
}

export function parseResourceTemplate(text: string): ResourceTemplate | { readonly problem: string } {
  const segments: (string | Placeholder)[] = [];
  const parameters: string[] = [];
  const parts = text.split("/");
  for (const [index, part] of parts.entries()) {
    const placeholder = parsePlaceholder(part);
    if (placeholder === null) {
      if (!LITERAL.test(part)) {
        return {
          problem: `expected a path like 'volume/{id}', each placeholder a whole segment, found ${JSON.stringify(part.slice(0, 64))}`,
        };
      }
      segments.push(part);
      continue;
    }
    // The first segment is the label `type`, which selectors rely on: no caller chooses it.
    if (index === 0) return { problem: `expected the resource's type before the first placeholder, found ${part}` };
    if (placeholder.isRest && index < parts.length - 1) return { problem: `expected ${part} at the end` };
    if (parameters.includes(placeholder.text))
      return { problem: `expected each placeholder once, found ${part} twice` };
    segments.push(Object.freeze(placeholder));
    parameters.push(placeholder.text);
  }
  if (!isResource(`x:${segments.map((one) => (typeof one === "string" ? one : "x")).join("/")}`)) {
    return { problem: `expected a resource's path without its upstream, found ${JSON.stringify(text.slice(0, 64))}` };
  }
  return Object.freeze({ text, parameters: Object.freeze(parameters), segments: Object.freeze(segments) });
}

function parsePlaceholder(part: string): Placeholder | null {
  if (!part.startsWith("{") || !part.endsWith("}")) return null;
  const isRest = part.endsWith("+}");
  const text = part.slice(1, isRest ? -2 : -1);
  const names = text.split(".");
  return names.length <= MAX_NAMES && names.every(isArgumentName) ? { text, names, isRest } : null;
}

/** The argument at the end of these names; undefined where it, or an object on the way, is absent or null. */
export function readArgument(
  arguments_: Arguments,
  names: readonly string[],
): { readonly value: ArgumentValue | undefined } | { readonly fault: string } {
  let value: ArgumentValue | undefined = arguments_;
  for (const [index, name] of names.entries()) {
    if (value === null || value === undefined) return { value: undefined };
    if (typeof value !== "object" || isList(value)) {
      return { fault: `expected an object as ${names.slice(0, index).join(".")}` };
    }
    // Servers that do not care for case, or trim names, would take another member for this one.
    const folded = foldName(name);
    const alike = Object.keys(value).find((other) => other !== name && foldName(other) === folded);
    if (alike !== undefined) return { fault: `expected ${names.slice(0, index + 1).join(".")} in one spelling` };
    value = Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return { value };
}

const PLAIN_NAME = /^[a-z0-9_]*$/;

/** As the most lenient server compares names. */
function foldName(name: string): string {
  return PLAIN_NAME.test(name) ? name : name.normalize("NFKC").trim().toLowerCase().toUpperCase().toLowerCase();
}

/**
 * The resources that these arguments name, each once: one, or one per item of a list. `absent` is the path of the
 * resource that is meant where an argument is absent, null or empty; null: that is a fault.
 */
export function fillResource(
  upstream: string,
  template: ResourceTemplate,
  arguments_: Arguments,
  absent: string | null,
): { readonly resources: readonly string[] } | { readonly fault: string } {
  const texts = new Map<string, readonly string[]>();
  let missing: string | null = null;
  let list: string | null = null;
  for (const segment of template.segments) {
    if (typeof segment === "string") continue;
    const read = readArgument(arguments_, segment.names);
    if ("fault" in read) return read;
    const value = read.value ?? null;
    if (isMissing(value)) {
      missing ??= segment.text;
      continue;
    }
    if (isList(value)) {
      // Which item of one belongs to which of the other is not known.
      if (list !== null) return { fault: `expected one list at most, found ${list} and ${segment.text}` };
      if (value.length > MAX_RESOURCES) return { fault: `expected at most ${MAX_RESOURCES} items in ${segment.text}` };
      list = segment.text;
    }
    const values = toTexts(isList(value) ? value : [value], segment);
    if (values === null) {
      return {
        fault: `expected text without slashes or a whole number below 2^53 as ${segment.text}, or a list of these`,
      };
    }
    texts.set(segment.text, values);
  }
  if (missing !== null) {
    return absent === null ? { fault: `expected a value for ${missing}` } : { resources: [`${upstream}:${absent}`] };
  }
  return joinTexts(upstream, template, texts);
}

function joinTexts(
  upstream: string,
  { segments, parameters }: ResourceTemplate,
  texts: ReadonlyMap<string, readonly string[]>,
): { readonly resources: readonly string[] } | { readonly fault: string } {
  const count = Math.max(1, ...[...texts.values()].map(({ length }) => length));
  const resources = new Set<string>();
  for (let item = 0; item < count; item++) {
    const path = segments.map((segment) => {
      if (typeof segment === "string") return segment;
      const values = texts.get(segment.text) ?? [];
      // All but the one list have one value.
      return values[values.length === 1 ? 0 : item] ?? "";
    });
    const id = `${upstream}:${path.join("/")}`;
    if (!isResource(id)) return { fault: `expected values that make a resource's id as ${parameters.join(", ")}` };
    resources.add(id);
  }
  return { resources: [...resources] };
}

function isMissing(value: ArgumentValue): boolean {
  return value === null || value === "" || (isList(value) && value.length === 0);
}

function toTexts(items: readonly ArgumentValue[], { isRest }: Placeholder): readonly string[] | null {
  const texts: string[] = [];
  for (const item of items) {
    const text = typeof item === "number" && Number.isSafeInteger(item) ? String(item) : item;
    if (typeof text !== "string" || text === "" || (!isRest && text.includes("/"))) return null;
    texts.push(text);
  }
  return texts;
}

/** `Array.isArray` does not narrow readonly arrays. */
export function isList(value: ArgumentValue): value is readonly ArgumentValue[] {
  return Array.isArray(value);
}

/** What the placeholders stand for in this resource, by their text; null where it is not the template's. */
export function matchResource(
  upstream: string,
  { segments }: ResourceTemplate,
  id: string,
): Readonly<Record<string, string>> | null {
  if (!isResource(id) || !id.startsWith(`${upstream}:`)) return null;
  const parts = id.slice(upstream.length + 1).split("/");
  const last = segments.at(-1);
  const isOpen = typeof last === "object" && last.isRest;
  if (isOpen ? parts.length < segments.length : parts.length !== segments.length) return null;
  const found: [string, string][] = [];
  for (const [index, segment] of segments.entries()) {
    if (typeof segment !== "string") {
      found.push([segment.text, parts.slice(index, segment.isRest ? undefined : index + 1).join("/")]);
    } else if (parts[index] !== segment) return null;
  }
  return Object.fromEntries(found);
}
