// How a hold and a statement stand in Redis: drafts as the texts that came, and beside them what scripts decide by. What
// cut-offs are held against is kept as a text of its own, so that a walk over thousands reads no draft.

import type { Instant } from "../../core/clock.ts";
import type { CutOffSubject } from "../../core/cutoff.ts";
import { BrokerError } from "../../core/errors.ts";
import { type AttestationId, instantOf } from "../../core/ids.ts";
import type {
  AttestationDraft,
  HoldDraft,
  HoldOutcome,
  HoldState,
  NewHold,
  StoredApproval,
  StoredAttestation,
  StoredHold,
} from "../../holds/hold-port.ts";
import { toText } from "./replies.ts";

type Texts = readonly (string | null)[];

/** In the order of `add_hold_reply`; approvals follow, a person and a text each. */
export const HOLD_FIELDS = [
  "draft",
  "state",
  "state_at",
  "ended_by",
  "why",
  "lease_token",
  "lease_until",
  "outcome",
  "readable",
  "version",
] as const;

export function isLive(state: HoldState): boolean {
  return state === "waiting" || state === "firing";
}

/** What `add_hold` takes. `at`: of the request, which the hold's id carries. */
export function toHoldOnWire({ hold, sealedRequest, wakeAt, keepUntil, perAgent }: NewHold, at: Instant): object {
  if (instantOf(hold.id) !== at)
    throw new BrokerError("internal", "a hold's id does not carry the instant of its request");
  // What is no number would keep no cut-off (rule 14), and never be looked at.
  if (!Number.isFinite(keepUntil)) throw new BrokerError("internal", "a hold says no time to keep cut-offs until");
  if (!Number.isFinite(wakeAt)) throw new BrokerError("internal", "a hold says no time to look at it");
  const { id, document, fingerprint } = hold;
  const { task, upstream, grant, subject } = document;
  return {
    id,
    agent: agentOf(hold),
    task,
    upstream,
    grant,
    kind: subject.kind,
    fingerprint,
    subject: JSON.stringify(subjectOfHold(hold)),
    resources: JSON.stringify(resourcesOf(hold)),
    text: JSON.stringify(hold),
    sealedRequest: sealedRequest === null ? null : toText(sealedRequest),
    wakeAt,
    keepUntil,
    perAgent,
  };
}

/** What became of it. `instant`: of the transition. */
export function newHoldOf(hold: HoldDraft, instant: Instant): StoredHold {
  const untouched = { endedBy: null, why: null, approvals: [], lease: null, outcome: null, readable: false };
  return { ...hold, state: "waiting", stateAt: instant, ...untouched, version: 1 };
}

/** The one that asks: the last of the chain. INVARIANT: each hold has one, so that every claim checks policy and freeze. */
function agentOf({ document }: HoldDraft): string {
  const agent = document.agents.at(-1);
  if (agent === undefined) throw new BrokerError("internal", "a hold names no agent that asks");
  return agent.name;
}

/** Whose backups it demands. */
function resourcesOf({ document }: HoldDraft): readonly string[] {
  const demanding = document.demands.filter(({ requires }) => requires.backup !== null);
  return [...new Set(demanding.flatMap(({ permissions }) => permissions.map(({ resource }) => resource)))];
}

/**
 * What cut-offs are held against: the hold's own instant is its id's, so that comes last (semantics, rule 12).
 * INVARIANT: its grant stands before it; `find_hold` takes what is before both for the parents.
 */
export function subjectOfHold({ id, parents, environments, document }: HoldDraft): CutOffSubject {
  const { grant, agents, task, role, upstream } = document;
  const names = agents.map(({ name }) => name);
  return { grants: [...parents, grant, id], agents: names, task, role, environments, upstream };
}

/** Of the field `subject`. */
export function subjectOfText(text: string): CutOffSubject {
  // Written by `toHoldOnWire`.
  return JSON.parse(text) as CutOffSubject;
}

/** Of the values of `HOLD_FIELDS`, and of persons and approvals in turn. */
export function holdOf(texts: Texts, approvals: Texts): StoredHold {
  const [draft, state, stateAt, endedBy, why, token, until, outcome, readable, version] = texts;
  return {
    // Written by `toHoldOnWire`.
    ...(JSON.parse(draft ?? "") as HoldDraft),
    // By the scripts, of what the port takes.
    state: state as HoldState,
    stateAt: Number(stateAt),
    endedBy: endedBy ?? null,
    why: why ?? null,
    approvals: approvalsOf(approvals),
    lease: typeof token === "string" && typeof until === "string" ? { token, until: Number(until) } : null,
    // An outcome, by `settle`.
    outcome: typeof outcome === "string" ? (JSON.parse(outcome) as HoldOutcome) : null,
    readable: readable === "1",
    version: Number(version),
  };
}

/** Of what `add_hold_reply` adds to an answer. */
export function holdOfReply(reply: Texts): StoredHold {
  return holdOf(reply.slice(0, HOLD_FIELDS.length), reply.slice(HOLD_FIELDS.length));
}

/** Persons and texts in turn: `instant {…}`. In the order of their instants. */
function approvalsOf(texts: Texts): StoredApproval[] {
  const found: StoredApproval[] = [];
  for (let i = 1; i < texts.length; i += 2) {
    const text = texts[i] ?? "";
    const end = text.indexOf(" ");
    // An approval's draft, by `changeHold`.
    const draft = JSON.parse(text.slice(end + 1)) as Omit<StoredApproval, "at">;
    found.push({ ...draft, at: Number(text.slice(0, end)) });
  }
  return found.toSorted((a, b) => a.at - b.at || (a.person < b.person ? -1 : 1));
}

/** What `attest.lua` takes of one statement. */
export function toAttestationOnWire({ random, ...kept }: AttestationDraft): object {
  const { resource, statement, takenAt } = kept;
  return { random, resource, statement, takenAt, text: JSON.stringify(kept) };
}

export function attestationOf(id: string, text: string): StoredAttestation {
  // Written by `toAttestationOnWire`, under an id that `attest.lua` made.
  return { ...(JSON.parse(text) as Omit<StoredAttestation, "id">), id: id as AttestationId };
}
