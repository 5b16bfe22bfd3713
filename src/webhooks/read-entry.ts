// Reads an entry of the record far enough to know whether a receiver wants it. Most entries are nobody's business: they
// are passed over without being parsed. Never changes an entry.

import type { Instant } from "../core/clock.ts";

export interface RecordEntry {
  /** `evt_…`, and the id of the message about it. */
  readonly id: string;
  readonly seq: number;
  readonly type: string;
  /** RFC 3339, as it stands in the record. */
  readonly time: string;
  readonly instant: Instant;
  readonly fields: Readonly<Record<string, unknown>>;
}

const TYPE_MEMBER = '"type":"';

/** The entry, where its type is one of these; else null. */
export function readWanted(text: string, types: ReadonlySet<string>): RecordEntry | null {
  if (!mayBeOf(text, types)) return null;
  const fields = parseObject(text);
  if (fields === null) return null;
  const { id, seq, type, time } = fields;
  if (typeof id !== "string" || typeof seq !== "number" || typeof type !== "string" || typeof time !== "string")
    return null;
  const instant = Date.parse(time);
  return types.has(type) && Number.isFinite(instant) ? { id, seq, type, time, instant, fields } : null;
}

/** Canonical JSON has no space and escapes no letter, so the type of an entry stands in it like this, or it has another. */
function mayBeOf(text: string, types: ReadonlySet<string>): boolean {
  for (let at = text.indexOf(TYPE_MEMBER); at >= 0; at = text.indexOf(TYPE_MEMBER, at + 1)) {
    const start = at + TYPE_MEMBER.length;
    if (types.has(text.slice(start, text.indexOf('"', start)))) return true;
  }
  return false;
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    // An object that JSON.parse made has own members alone.
    return typeof parsed === "object" && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}
