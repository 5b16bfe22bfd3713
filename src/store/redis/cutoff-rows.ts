// How a cut-off stands in Redis: one text, of which the scripts read the beginning and never change the rest.
// `closed id before kept-until {"target":…,"reason":…,"by":…}`

import { BrokerError } from "../../core/errors.ts";
import type { RevocationId } from "../../core/ids.ts";
import type { CutOffCommand, StoredCutOff } from "../../revocation/revocation-port.ts";

const ROW = /^([01]) (rev_\w+) (\d+) (\d+) (\{.*\})$/;

/** What is only kept of it. */
export function textOf({ target, reason, by }: Pick<CutOffCommand, "target" | "reason" | "by">): string {
  return JSON.stringify({ target, reason, by });
}

export function cutOffOf(number: string, row: string): StoredCutOff {
  const [, closed, id, before, keptUntil, text] = ROW.exec(row) ?? [];
  if (text === undefined) throw new BrokerError("store_unavailable", `cut-off ${number} cannot be read`);
  // Written by `textOf`.
  const { target, reason, by } = JSON.parse(text) as Pick<StoredCutOff, "target" | "reason" | "by">;
  return {
    // By the pattern.
    id: id as RevocationId,
    number: Number(number),
    target,
    before: Number(before),
    reason,
    by,
    keptUntil: Number(keptUntil),
    closed: closed === "1",
  };
}
