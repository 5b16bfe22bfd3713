// The message about an entry: type, time, a selection of its fields, and a line for people. `docs/webhooks.md` documents
// it. Never larger than 16 KB, whatever the entry holds.

import { describeEntry } from "./describe-entry.ts";
import type { RecordEntry } from "./read-entry.ts";
import { selectData } from "./select-data.ts";

export interface Message {
  /** The entry's, at every try. */
  readonly id: string;
  /** JSON, as it is signed and sent. */
  readonly body: string;
}

export const MAX_MESSAGE_BYTES = 16_384;
/** Items of each list, until it fits. */
const LIST_SIZES = [20, 10, 5, 2, 0] as const;

export function makeMessage({ id, seq, type, time, fields }: RecordEntry, issuer: string): Message {
  for (const most of LIST_SIZES) {
    const data = selectData(fields, most);
    const body = JSON.stringify({
      type,
      timestamp: time,
      data: { issuer, ...data },
      text: describeEntry(type, data),
    });
    if (Buffer.byteLength(body) <= MAX_MESSAGE_BYTES) return { id, body };
  }
  // Enough to look it up in the record.
  return { id, body: JSON.stringify({ type, timestamp: time, data: { issuer, id, seq }, text: `${type}: ${id}` }) };
}
