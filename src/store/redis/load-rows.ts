// What `load.lua` takes of each row of a dump: the forms in which drafts and rows lie in Redis, made as the ports make them.
// Pure.

import { instantOf } from "../../core/ids.ts";
import { hashLeaf } from "../../core/leaf.ts";
import type { DumpRow, RowKind } from "../dump.ts";
import { toCredentialOnWire } from "./credentials.ts";
import { textOf } from "./cutoff-rows.ts";
import { toGrantOnWire } from "./grant-rows.ts";
import { toHoldOnWire } from "./hold-rows.ts";

type RowOf<Kind extends RowKind> = Extract<DumpRow, { readonly kind: Kind }>;

export function toLoad(row: DumpRow): object {
  switch (row.kind) {
    case "hold":
      return holdRow(row);
    case "grant": {
      const { id, issuedAt: _, endsAt, hold, endedAt, endedBy, version, ...draft } = row.grant;
      // The id has it already.
      const grant = toGrantOnWire({ ...draft, random: "" });
      return { kind: row.kind, id, grant, endsAt, hold, endedAt, endedBy, version, uses: row.uses };
    }
    case "attestation": {
      const { id, ...kept } = row.attestation;
      const { resource, statement, takenAt } = kept;
      return { kind: row.kind, id, resource, statement, takenAt, text: JSON.stringify(kept) };
    }
    case "cut_off": {
      const { number, id, target, before, keptUntil, closed } = row.cutOff;
      const kept = { number, id, target, before, keptUntil, closed, text: textOf(row.cutOff) };
      return { kind: row.kind, ...kept, isForgotten: row.isForgotten };
    }
    case "store":
      return storeRow(row);
    case "key": {
      const { id, state, createdAt, stateAt, purpose, publicJwk } = row.key;
      const text = `${state} ${createdAt} ${stateAt} ${JSON.stringify({ purpose, publicJwk })}`;
      return { kind: row.kind, id, row: text, sealed: row.sealed, retiredNumber: row.retiredNumber };
    }
    case "secret": {
      const { name, createdAt, version, origins, createdBy } = row.secret;
      const { sealedKey, sealedValue } = row;
      const text = JSON.stringify({ version, origins, createdBy, sealedKey, sealedValue });
      return field("secrets", name, `${createdAt} ${text}`);
    }
    case "secret_version":
      return field("secret_versions", row.name, String(row.version));
    case "canary": {
      const { id, createdAt, ...kept } = row.canary;
      return field("canaries", id, `${createdAt} ${JSON.stringify({ ...kept, hash: row.hash })}`);
    }
    case "frozen":
      return field("frozen", row.agent, row.revocation);
    case "cursor": {
      const { name, seq, attempts, nextAt } = row.cursor;
      return field("cursors", name, JSON.stringify({ name, seq, attempts, nextAt }));
    }
    case "credential":
      return { kind: row.kind, ...toCredentialOnWire(row.credential) };
    case "open_call":
    case "proof":
    case "use":
      return row;
    case "entry":
      return { ...row, hash: hashLeaf(row.text), random: randomOf(row.text) };
  }
}

function field(of: string, name: string, value: string): object {
  return { kind: "field", of, name, value };
}

function holdRow({ hold, wakeAt, isSame, sealedRequest, sealedOutcome }: RowOf<"hold">): object {
  const { state, stateAt, endedBy, why, approvals, lease, outcome, readable, version, ...draft } = hold;
  const at = wakeAt ?? lease?.until ?? stateAt;
  const made = { hold: draft, sealedRequest: null, wakeAt: at, keepUntil: at, perAgent: 0 };
  return {
    kind: "hold",
    hold: toHoldOnWire(made, instantOf(draft.id)),
    state,
    stateAt,
    wakeAt: at,
    isSame,
    readable: readable ? "1" : "0",
    version,
    rest: {
      ended_by: endedBy,
      why,
      lease_token: lease?.token,
      lease_until: lease?.until,
      outcome: outcome === null ? null : JSON.stringify(outcome),
    },
    sealed: { sealed_request: sealedRequest, sealed_outcome: sealedOutcome },
    approvals: Object.fromEntries(
      approvals.map(({ at: signedAt, ...approval }) => [approval.person, `${signedAt} ${JSON.stringify(approval)}`]),
    ),
  };
}

function storeRow(row: RowOf<"store">): object {
  return {
    kind: row.kind,
    masterKeyCheck: row.masterKeyCheck,
    meta: {
      policy_digest: row.policyDigest,
      policy_swept: row.policySwept,
      instant: row.instant,
      last_before: row.lastBefore,
      latest_expiry: row.latestExpiry,
      longest_ttl: row.longestTtlMs,
      feed_number: row.feedNumber,
      epoch: row.epoch,
      recovered_at: row.recoveredAt,
      proofs_after: row.proofsAfter,
      went_back: row.wentBack,
    },
  };
}

/** The random part of an entry's id: how brokers know the entry again. */
function randomOf(text: string): string {
  return /"id":"evt_\w{10}(\w+)"/.exec(text)?.[1] ?? "";
}
