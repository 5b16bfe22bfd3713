// What is so at this moment for one hold: whose signatures count, and which backups. Signatures are verified again each
// time, not counted (semantics, rule 23). The one place that finds facts for `assess.ts`.

import type { Instant } from "../core/clock.ts";
import type { Requirements } from "../core/hold-document.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { BackupFound, Facts } from "./assess.ts";
import type { StoredApproval, StoredAttestation, StoredHold } from "./hold.ts";
import type { HoldPort } from "./hold-port.ts";
import { judgeBackup } from "./judge-backup.ts";
import { ownersOf } from "./owners.ts";
import type { HoldSeals } from "./sealed.ts";
import { signatureStillCounts } from "./verify-approval.ts";

/** Newest statements on one resource that are looked at. */
const ATTESTATIONS_EACH = 50;

export interface JudgedBackup {
  readonly attestation: StoredAttestation;
  /** Why it does not count, by the strictest demand on its resource; null where it does. */
  readonly fault: string | null;
}

export interface HoldFacts extends Facts {
  /** Of resources that need one, the newest of each first. */
  readonly backups: readonly JudgedBackup[];
}

export async function findFacts(
  port: Pick<HoldPort, "attestations">,
  hold: StoredHold,
  scopes: ScopeSet,
  instant: Instant,
  { isFrozen, seals }: { readonly isFrozen: (agent: string) => boolean; readonly seals: HoldSeals },
): Promise<HoldFacts> {
  const counting: StoredApproval[] = [];
  for (const approval of hold.approvals) {
    if (approval.decision !== "approve" || !seals.isSealed(hold.id, approval)) continue;
    const signedAt = await signatureStillCounts(approval, hold, scopes);
    // By the later of the store's instant and the one that was signed: the store alone cannot end a delay early.
    if (signedAt !== null) counting.push({ ...approval, at: Math.max(approval.at, signedAt) });
  }
  const needed = resourcesWithBackups(hold);
  const attestations = needed.size === 0 ? [] : await port.attestations([...needed.keys()], ATTESTATIONS_EACH);
  const faultOf = (attestation: StoredAttestation, backup: NonNullable<Requirements["backup"]>): string | null => {
    const permission = hold.document.permissions.find(({ resource }) => resource === attestation.resource);
    if (permission === undefined) return "it is of another resource";
    if (isFrozen(attestation.agent)) return `${attestation.agent}, who attests it, is frozen`;
    return judgeBackup(attestation, {
      permission,
      backup,
      agents: hold.document.agents,
      owners: ownersOf(hold, scopes),
      scopes,
      instant,
    });
  };
  const backupFor = (resource: string, backup: NonNullable<Requirements["backup"]>): BackupFound => {
    let fault = "nobody has attested one";
    const own = attestations.filter((one) => one.resource === resource);
    for (const [index, attestation] of own.entries()) {
      const found = faultOf(attestation, backup);
      if (found === null) return { id: attestation.id };
      // Newest first: what is told is why the newest does not do.
      if (index === 0) fault = `of the newest, ${found}`;
    }
    return { fault };
  };
  const backups = attestations.map((attestation) => {
    const faults = (needed.get(attestation.resource) ?? []).map((backup) => faultOf(attestation, backup));
    return { attestation, fault: faults.find((fault) => fault !== null) ?? null };
  });
  return { counting, backupFor, backups };
}

function resourcesWithBackups(hold: StoredHold): Map<string, NonNullable<Requirements["backup"]>[]> {
  const needed = new Map<string, NonNullable<Requirements["backup"]>[]>();
  for (const { permissions, requires } of hold.document.demands) {
    if (requires.backup === null) continue;
    for (const { resource } of permissions) needed.set(resource, [...(needed.get(resource) ?? []), requires.backup]);
  }
  return needed;
}
