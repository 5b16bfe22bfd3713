// Reads many rows a page at a time: one script for each page, so that neither the server nor a broker is kept busy for long.
// Of each row the fields that are asked for, as they stand at one moment.

import type { Scripts } from "./scripts.ts";
import { unknownReply } from "./replies.ts";

/** Looked at in one round trip: some milliseconds of the server. */
export const LOOKED_AT = 500;

/** An id, and its values in the order of the fields; null for what the row does not have. */
export interface Row {
  readonly id: string;
  readonly values: readonly (string | null)[];
}

/** What to read: a page of rows of one kind. */
interface Kind {
  /** How their names begin. */
  readonly rows: string;
  /** Whose values have no line breaks and are not empty. */
  readonly fields: readonly string[];
}

/** A part of an index, its ends as ZRANGEBYLEX has them. */
export interface Span {
  readonly index: string;
  readonly from: string;
  readonly to: string;
  /** `from` is the end with the newest ids, and comes first. */
  readonly newest?: boolean;
  /** Of the first page: no longer than what is asked for. */
  readonly size?: number;
}

/** Of these, in their order; also of what is not there. At most `LOOKED_AT`. */
export async function lookAt(scripts: Scripts, { rows, fields }: Kind, ids: readonly string[]): Promise<Row[]> {
  return ids.length === 0 ? [] : look(scripts, { rows, fields }, { ids });
}

export async function* lookAlong(scripts: Scripts, kind: Kind, span: Span): AsyncGenerator<Row[]> {
  const { index, to, newest = false, size = LOOKED_AT } = span;
  let { from } = span;
  for (let count = Math.min(size, LOOKED_AT); ; count = LOOKED_AT) {
    const page = await look(scripts, kind, { index, from, to, newest, count });
    if (page.length > 0) yield page;
    if (page.length < count) return;
    from = `(${page.at(-1)?.id}`;
  }
}

async function look(scripts: Scripts, { rows, fields }: Kind, which: object): Promise<Row[]> {
  const reply = await scripts.run("look", { rows, fields, ...which });
  if (reply[0] !== "looked") throw unknownReply(reply);
  if (reply[1] === undefined || reply[1] === "") return [];
  const lines = reply[1].split("\n");
  const found: Row[] = [];
  for (let at = 0; at < lines.length; at += fields.length + 1) {
    const values = lines.slice(at + 1, at + 1 + fields.length).map((line) => (line === "" ? null : line));
    found.push({ id: lines[at] ?? "", values });
  }
  return found;
}
