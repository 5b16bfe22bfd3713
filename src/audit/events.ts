// Every event that the record can hold, typed. Names are `noun.past_participle`. Never a secret, never a body.
// What an entry gets with its place (id, seq, time, previous) is in `core/leaf.ts`.

import { type LeafDraft, PLACED_FIELDS } from "../core/leaf.ts";
import { drawRandomPart, type CredentialId, type GrantId, type RequestId, type RevocationId } from "../core/ids.ts";
import type { Reason } from "../core/errors.ts";
import type { CutOffTarget } from "../core/cutoff.ts";

/** An event that a policy refusal produced lists at most this many reasons, and says how many there were. */
const MAX_REASONS = 24;
/** Of the 65,535 bytes of an entry: reasons repeat labels, of which a resource may have many. */
const MAX_REASON_BYTES = 24_000;

interface PermissionFacts {
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
      readonly decision: "allowed" | "refused";
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
  | ({ readonly type: "agent.unfrozen"; readonly agent: string; readonly reason: string } & PersonFacts)
  | {
      readonly type: "policy.narrowed";
      readonly target: CutOffTarget;
      readonly grants: number;
      readonly reasons: readonly Reason[];
      readonly policy: string;
    }
  | { readonly type: "policy.activated"; readonly policy: string; readonly previousPolicy: string | null }
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
  | ({
      readonly type: "decision.explained";
      readonly agent: string;
      readonly decision: "allowed" | "refused";
    } & PersonFacts)
  | ({ readonly type: "power.refused"; readonly reasons: readonly Reason[]; readonly route: string } & Omit<
      PersonFacts,
      "person"
    > & { readonly caller: string })
  | { readonly type: "refusals.counted"; readonly counts: Readonly<Record<string, number>>; readonly policy: string };

/** A draft for the record. Reasons beyond the cap are counted, so that an entry always fits a leaf. */
export function draftEvent(event: Event): LeafDraft {
  for (const field of PLACED_FIELDS) if (field in event) throw new TypeError(`an event draft may not carry ${field}`);
  if (!("reasons" in event)) return { random: drawRandomPart(), fields: { ...event } };
  const reasons = capReasons(event.reasons);
  const omitted = event.reasons.length - reasons.length;
  return {
    random: drawRandomPart(),
    fields: { ...event, reasons, ...(omitted === 0 ? {} : { reasonsOmitted: omitted }) },
  };
}

function capReasons(reasons: readonly Reason[]): readonly Reason[] {
  let bytes = 0;
  const fits = reasons
    .slice(0, MAX_REASONS)
    .findIndex((reason) => (bytes += Buffer.byteLength(JSON.stringify(reason))) > MAX_REASON_BYTES);
  // The first says which code was answered: it is never left out.
  return reasons.slice(0, fits < 0 ? MAX_REASONS : Math.max(fits, 1));
}
