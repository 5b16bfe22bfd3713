// What lists and counts go through: of each grant what is decided by, and not its draft. Pure.

import type { Instant } from "../../core/clock.ts";
import type { CutOffSubject } from "../../core/cutoff.ts";
import type { GrantId } from "../../core/ids.ts";
import type { GrantFilter } from "../../grants/grant-port.ts";
import type { CutOffIndex } from "../cutoff-index.ts";
import { GRANT_FIELDS, type LookedText } from "./grant-rows.ts";
import type { Row } from "./look.ts";

const [, ...CHANGING] = GRANT_FIELDS;
/** What to read of each. */
export const LOOK = { rows: "grant:", fields: ["look", ...CHANGING] } as const;

/** What is decided by of one grant, at one moment. */
export interface Looked {
  readonly id: GrantId;
  readonly subject: CutOffSubject;
  readonly policyDigest: string;
  readonly endsAt: Instant;
  readonly isEnded: boolean;
  readonly isHeld: boolean;
  /** The values of `CHANGING`. */
  readonly changing: readonly (string | null)[];
}

/** Nothing where it is not there any more. */
export function lookedOf({ id, values: [text, ...changing] }: Row): Looked[] {
  if (typeof text !== "string") return [];
  // Written by `toGrantOnWire`; an id of an index of grants.
  const { agent, task, role, upstream, environments, parents, policyDigest } = JSON.parse(text) as LookedText;
  const grant = id as GrantId;
  const [endsAt, endedAt, , hold] = changing;
  const isEnded = endedAt !== null;
  return [
    {
      id: grant,
      subject: { grants: [...parents, grant], agents: [agent], task, role, environments, upstream },
      policyDigest,
      endsAt: Number(endsAt),
      isEnded,
      isHeld: hold !== null && endsAt === "0" && !isEnded,
      changing,
    },
  ];
}

export function lives({ isEnded, endsAt }: Looked, at: Instant): boolean {
  return !isEnded && endsAt > at;
}

export function passes(row: Looked, filter: GrantFilter, at: Instant, cutOffs: CutOffIndex): boolean {
  const { agents, task, role, upstream, environments } = row.subject;
  const isNamed =
    (filter.agent === undefined || agents.includes(filter.agent)) &&
    (filter.task ?? task) === task &&
    (filter.role ?? role) === role &&
    (filter.upstream ?? upstream) === upstream &&
    (filter.environment === undefined || environments.includes(filter.environment));
  return isNamed && (filter.status === undefined || filter.status === statusOf(row, at, cutOffs));
}

function statusOf(row: Looked, at: Instant, cutOffs: CutOffIndex): "held" | "active" | "ended" {
  const isOver = !row.isHeld && !lives(row, at);
  if (isOver || cutOffs.findVoiding(row.subject) !== null) return "ended";
  return row.isHeld ? "held" : "active";
}
