// What the answers of many scripts have in common.

import type { NotWritten } from "../../audit/record-port.ts";
import { BrokerError } from "../../core/errors.ts";
import type { Reply } from "./scripts.ts";

/** Of a transition that wrote nothing, for one of the reasons that any may have. */
export function notWrittenOf(reply: Reply): NotWritten {
  switch (reply[0]) {
    case "proof_replayed":
      return { outcome: reply[0] };
    case "clock_behind":
      return { outcome: reply[0], instant: Number(reply[1]) };
    default:
      throw unknownReply(reply);
  }
}

/** A script and its caller are not of one version. */
export function unknownReply([outcome]: Reply): BrokerError {
  return new BrokerError("internal", `the store answered ${outcome}`);
}

export function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

export function toBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** A row: so many words, and then JSON that is only kept. */
export function splitRow(row: string, words: number): readonly [words: readonly string[], json: unknown] {
  const found: string[] = [];
  let from = 0;
  for (let i = 0; i < words; i++) {
    const end = row.indexOf(" ", from);
    if (end < 0) throw new BrokerError("store_unavailable", "a row of the store cannot be read; restore a backup");
    found.push(row.slice(from, end));
    from = end + 1;
  }
  return [found, JSON.parse(row.slice(from))];
}
