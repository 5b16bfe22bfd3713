// Cut-offs that are over: in nobody's memory, kept in the file as long as a grant that they ended may be listed, so that
// its history stays true. Never decides anything: what they voided has expired.

import type { DatabaseSync } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import { type CutOffSubject, targets } from "../../core/cutoff.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";
import { issueOf, namesFor } from "../cutoff-index.ts";
import { cutOffOf } from "./rows.ts";

/** Of one name in the life of one grant; nearly always the first one matches. */
const LOOKED_AT = 1000;

export interface PastCutOffs {
  /** The earliest forgotten one that voids this subject and came before `end`, or null. */
  findVoiding(subject: CutOffSubject, end: Instant): StoredCutOff | null;
}

export function preparePastCutOffs(db: DatabaseSync): PastCutOffs {
  const any = db.prepare("SELECT 1 FROM cutoffs INDEXED BY cutoffs_past WHERE forgotten = 1 LIMIT 1");
  const rows = db.prepare(
    "SELECT * FROM cutoffs INDEXED BY cutoffs_past WHERE forgotten = 1 AND name = ? AND before >= ? AND before < ?" +
      ` ORDER BY before, number LIMIT ${LOOKED_AT}`,
  );
  return {
    findVoiding(subject, end) {
      if (any.get() === undefined) return null;
      const issuedAt = issueOf(subject);
      let earliest: StoredCutOff | null = null;
      for (const name of namesFor(subject)) {
        for (const row of rows.iterate(name, issuedAt, end)) {
          const cutOff = cutOffOf(row);
          if (earliest !== null && cutOff.number >= earliest.number) break;
          if (targets(cutOff.target, subject)) earliest = cutOff;
        }
      }
      return earliest;
    },
  };
}
