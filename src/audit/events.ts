// Every event that the record can hold, typed. Names are `noun.past_participle`. Never a secret, never a body.
// What an entry gets with its place (id, seq, time, previous) is in `core/leaf.ts`.

import { type LeafDraft, PLACED_FIELDS } from "../core/leaf.ts";
import {
  drawRandomPart,
  type CanaryId,
  type CredentialId,
  type GrantId,
  type RequestId,
  type RevocationId,
} from "../core/ids.ts";
import type { Reason } from "../core/errors.ts";
import type { CredentialEvent } from "./credential-events.ts";
import type { HoldEvent } from "./hold-events.ts";
import type { CutOffTarget } from "../core/cutoff.ts";

/** An event that a policy refusal produced lists at most this many reasons, and says how many there were. */
const MAX_REASONS = 24;
/** Of the 65,535 bytes of an entry: reasons repeat labels, of which a resource may have many. */
const MAX_REASON_BYTES = 24_000;

export interface PermissionFacts {
  readonly action: string;
  readonly resource: string;
  readonly environments: readonly string[];
}

/** What every event about a request of an agent names. */
interface RequestFacts {
  readonly agent: string;
  readonly owner: string | null;
  readonly task: string;
  readonly role: string | null;
  readonly upstream: string | null;
  readonly permissions: readonly PermissionFacts[];
  readonly request: RequestId | null;
  readonly policy: string;
}

/** What every event about a gateway call names. `request` is the call's id. */
export interface CallFacts {
  readonly agent: string;
  readonly owner: string | null;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly grant: GrantId;
  /** `GET /repos/{owner}/{repo}`, `mutation volumeDelete`; several joined by commas. Null where it was not recognised. */
  readonly operation: string | null;
  readonly permissions: readonly PermissionFacts[];
  readonly request: RequestId;
  readonly policy: string;
}

/** What became of a call that was sent. */
export interface CallOutcome {
  readonly status: number | null;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly milliseconds: number;
  /** How often the root credential was found in the answer and blotted out. */
  readonly scrubbed: number;
  /** Why the answer was not passed on whole, or null. */
  readonly cut: string | null;
}

/** What the broker itself stopped, after strikes or a decoy: `requests` are the calls that led to it. */
interface StrikeFacts {
  readonly agent: string;
  readonly target: CutOffTarget;
  readonly reason: string;
  readonly requests: readonly RequestId[];
  readonly policy: string;
}

interface PersonFacts {
  readonly person: string;
  readonly request: RequestId | null;
  readonly policy: string;
}

/** Fields that the store adds when it makes the id: `grant` on grant.issued, `revocation` on a cut-off's event. */
export type Event =
  | { readonly type: "broker.started"; readonly version: string; readonly issuer: string; readonly policy: string }
  | { readonly type: "broker.stopped"; readonly policy: string }
  | ({
      readonly type: "grant.issued";
      readonly credential: CredentialId;
      readonly ttlSeconds: number;
      readonly reason: string | null;
    } & RequestFacts)
  | ({
      readonly type: "grant.refused";
      readonly reasons: readonly Reason[];
      readonly reason: string | null;
    } & RequestFacts)
  | ({
      readonly type: "grant.simulated";
      readonly decision: "allowed" | "held" | "refused";
      readonly reasons: readonly Reason[];
    } & RequestFacts)
  | ({ readonly type: "credential.renewed"; readonly grant: GrantId; readonly credential: CredentialId } & RequestFacts)
  | ({
      readonly type: "credential.refused";
      readonly grant: GrantId;
      readonly reasons: readonly Reason[];
    } & RequestFacts)
  | ({ readonly type: "grant.released"; readonly grant: GrantId } & RequestFacts)
  | ({
      readonly type: "grant.revoked";
      readonly grant: GrantId;
      readonly target: CutOffTarget;
      readonly reason: string;
    } & PersonFacts)
  /** Everything before is void, by `revocation`. `entries`, `head`: where the backup's record ends. */
  | {
      readonly type: "store.restored";
      readonly backup: string;
      readonly taken: string;
      readonly entries: number;
      readonly head: string;
      readonly revocation: RevocationId;
      /** Cut-offs that the backup lacked: how many, and the first of them. */
      readonly carried: number;
      readonly cutoffs: readonly RevocationId[];
      readonly reason: string;
      readonly policy: string;
    }
  | ({ readonly type: "cutoff.created"; readonly target: CutOffTarget; readonly reason: string } & PersonFacts)
  | ({
      readonly type: "cutoff.reopened";
      readonly revocation: RevocationId;
      readonly target: CutOffTarget;
      readonly reason: string;
    } & PersonFacts)
  | ({
      readonly type: "agent.frozen";
      readonly agent: string;
      readonly target: CutOffTarget;
      readonly reason: string;
    } & PersonFacts)
  | ({ readonly type: "agent.struck" } & StrikeFacts)
  | ({ readonly type: "grant.struck" } & StrikeFacts)
  | ({ readonly type: "call.allowed" } & CallFacts)
  | ({ readonly type: "call.refused"; readonly reasons: readonly Reason[] } & CallFacts)
  | ({ readonly type: "call.forwarded" } & CallFacts & CallOutcome)
  /** It may have reached the upstream, and what it did there is not known (rule 32). */
  | ({ readonly type: "call.unknown"; readonly cause: string } & CallFacts & CallOutcome)
  /** Nothing of it can have reached the upstream. */
  | ({ readonly type: "call.undelivered"; readonly cause: string } & CallFacts)
  /** The broker asks the provider for labels, by its own read query. */
  | {
      readonly type: "labels.requested";
      readonly agent: string;
      readonly task: string;
      readonly upstream: string;
      readonly resource: string;
      readonly request: RequestId;
      readonly policy: string;
    }
  | ({
      readonly type: "secret.sealed";
      readonly secret: string;
      readonly version: number;
      readonly origins: readonly string[];
    } & PersonFacts)
  | ({ readonly type: "secret.deleted"; readonly secret: string } & PersonFacts)
  | ({
      readonly type: "canary.created";
      readonly canary: CanaryId;
      readonly like: string;
      readonly note: string | null;
    } & PersonFacts)
  | ({ readonly type: "canary.deleted"; readonly canary: CanaryId } & PersonFacts)
  | {
      readonly type: "decoy.presented";
      readonly canary: CanaryId;
      readonly like: string;
      /** `authorization`, `query`, `body`: never the value. */
      readonly where: string;
      /** Who proved to be somebody in the same request, or null. */
      readonly agent: string | null;
      readonly route: string;
      readonly request: RequestId;
      readonly policy: string;
    }
  | ({ readonly type: "agent.unfrozen"; readonly agent: string; readonly reason: string } & PersonFacts)
  | {
      readonly type: "policy.narrowed";
      readonly target: CutOffTarget;
      readonly grants: number;
      readonly reasons: readonly Reason[];
      readonly policy: string;
    }
  | {
      readonly type: "policy.activated";
      readonly policy: string;
      readonly previousPolicy: string | null;
      /** Null, and the other two: a reload or a start. */
      readonly person: string | null;
      readonly reason: string | null;
      readonly request: RequestId | null;
    }
  | { readonly type: "policy.rejected"; readonly problems: readonly string[]; readonly policy: string }
  | { readonly type: "key.created"; readonly key: string; readonly purpose: string; readonly policy: string }
  | {
      readonly type: "key.promoted";
      readonly key: string;
      readonly purpose: string;
      readonly person: string | null;
      readonly policy: string;
    }
  | {
      readonly type: "key.retired";
      readonly key: string;
      readonly purpose: string;
      readonly compromised: boolean;
      readonly person: string | null;
      readonly policy: string;
    }
  | ({ readonly type: "clock.acknowledged" } & PersonFacts)
  | {
      /** A broker knew it, and the store had lost it. */
      readonly type: "cutoff.restored";
      readonly revocation: RevocationId;
      readonly target: CutOffTarget;
      /** The agent that stays frozen, where that was lost too. */
      readonly frozen: string | null;
      readonly policy: string;
    }
  | ({
      readonly type: "store.recovered";
      /** How often it was recovered, and how many entries it had: as a broker knew it, and as it was found. */
      readonly known: { readonly epoch: number; readonly seq: number };
      readonly found: { readonly epoch: number; readonly seq: number };
      readonly reason: string;
    } & PersonFacts)
  | ({
      readonly type: "decision.explained";
      readonly agent: string;
      readonly decision: "allowed" | "held" | "refused";
    } & PersonFacts)
  | ({ readonly type: "power.refused"; readonly reasons: readonly Reason[]; readonly route: string } & Omit<
      PersonFacts,
      "person"
    > & { readonly caller: string })
  | HoldEvent
  | CredentialEvent
  /** A receiver did not take a message for too long; `event` is the entry that it was about. */
  | {
      readonly type: "webhook.dropped";
      readonly webhook: string;
      readonly event: string;
      readonly attempts: number;
      readonly cause: string;
      readonly policy: string;
    }
  | { readonly type: "refusals.counted"; readonly counts: Readonly<Record<string, number>>; readonly policy: string };

/** A draft for the record. Reasons beyond the cap are counted, so that an entry always fits a leaf. */
export function draftEvent(event: Event): LeafDraft {
  for (const field of PLACED_FIELDS) if (field in event) throw new TypeError(`an event draft may not carry ${field}`);
  if (!("reasons" in event)) return { random: drawRandomPart(), fields: { ...event } };
  const reasons = capReasons(event.reasons);
  const omitted = event.reasons.length - reasons.length;
  const fields = { ...event, reasons, ...(omitted === 0 ? {} : { reasonsOmitted: omitted }) };
  if (!("permissions" in fields)) return { random: drawRandomPart(), fields };
  // What was refused may name more than an entry holds; what was allowed is on record whole, or not allowed.
  const permissions = capPermissions(fields.permissions);
  const left = fields.permissions.length - permissions.length;
  return {
    random: drawRandomPart(),
    fields: { ...fields, permissions, ...(left === 0 ? {} : { permissionsOmitted: left }) },
  };
}

function capPermissions(permissions: readonly PermissionFacts[]): readonly PermissionFacts[] {
  let bytes = 0;
  const fits = permissions.findIndex(
    (permission) => (bytes += Buffer.byteLength(JSON.stringify(permission))) > MAX_REASON_BYTES,
  );
  return fits < 0 ? permissions : permissions.slice(0, fits);
}

function capReasons(reasons: readonly Reason[]): readonly Reason[] {
  let bytes = 0;
  const fits = reasons
    .slice(0, MAX_REASONS)
    .findIndex((reason) => (bytes += Buffer.byteLength(JSON.stringify(reason))) > MAX_REASON_BYTES);
  // The first says which code was answered: it is never left out.
  return reasons.slice(0, fits < 0 ? MAX_REASONS : Math.max(fits, 1));
}
