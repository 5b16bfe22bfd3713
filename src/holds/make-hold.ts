// Makes a hold of a request that policy allows once its demands are met: the document that people sign, and who may sign.
// Pure. What cannot be shown whole to a person is refused here.

import { canonicalJson, digestOf } from "../core/canonical-json.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import {
  type Demand,
  digestOfHold,
  HOLD_DOCUMENT,
  type HeldPermission,
  type HeldSubject,
  type HoldDocument,
} from "../core/hold-document.ts";
import { drawRandomPart, type GrantId, type HoldId, makeId } from "../core/ids.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";
import { findApprovers } from "../policy/find-unmet.ts";
import { firstLook, latestEnd } from "./assess.ts";
import type { HoldDraft } from "./hold.ts";
import type { NewHold } from "./hold-port.ts";

/** What is to wait, decided and resolved. */
export interface HeldRequest {
  readonly issuer: string;
  /** A grant's own id is made of the same instant. */
  readonly grant: GrantId;
  readonly parents: readonly GrantId[];
  readonly agent: Agent;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly permissions: readonly HeldPermission[];
  readonly demands: readonly Demand[];
  readonly reason: string | null;
  readonly subject: HeldSubject;
}

/** It stands in one entry of the record. */
const MAX_DOCUMENT_BYTES = 24_576;

function newHoldId(at: Instant): HoldId {
  return makeId("hld", at, drawRandomPart());
}

/** Throws `too_large` where it cannot be shown whole. `at` is the instant of the ids. */
export function makeHold(
  request: HeldRequest,
  scopes: ScopeSet,
  at: Instant,
  { sealRequest }: { readonly sealRequest: ((id: HoldId) => Uint8Array) | null },
): NewHold {
  const id = newHoldId(at);
  const { issuer, grant, parents, agent, task, role, upstream, permissions, demands, reason, subject } = request;
  const document: HoldDocument = {
    type: HOLD_DOCUMENT,
    issuer,
    hold: id,
    grant,
    agents: [{ name: agent.name, owner: agent.owner }],
    task,
    role,
    upstream,
    permissions,
    demands,
    reason,
    subject,
  };
  if (Buffer.byteLength(canonicalJson(document)) > MAX_DOCUMENT_BYTES) {
    throw new BrokerError("too_large", "the request is too large to be shown whole to the people who would sign it");
  }
  const hold: HoldDraft = {
    id,
    document,
    digest: digestOfHold(document),
    fingerprint: fingerprintOf(document),
    environments: environmentsOf(permissions),
    parents,
    policyDigest: scopes.digest,
    approvers: findApprovers(demands, agent, scopes),
  };
  const ttlSeconds = subject.kind === "grant" ? subject.ttlSeconds : 0;
  return {
    hold,
    sealedRequest: sealRequest === null ? null : sealRequest(id),
    wakeAt: firstLook(hold),
    keepUntil: latestEnd(demands, at, ttlSeconds),
    perAgent: scopes.settings.holds.perAgent,
  };
}

/** Rule 24: the same agent, task and request. Under which grant it is made again is no difference. */
function fingerprintOf(document: HoldDocument): string {
  const { hold: _hold, grant: _grant, ...rest } = document;
  return digestOf(rest);
}

function environmentsOf(permissions: HeldRequest["permissions"]): readonly string[] {
  return [...new Set(permissions.flatMap(({ labels }) => labels["environment"] ?? []))].toSorted();
}

/** Which parts of the document differ, by name; the ids are not compared. Empty: it is what was asked. */
export function findChanges(asked: HoldDocument, today: HoldDocument): readonly string[] {
  const changes: string[] = [];
  const differ = (a: unknown, b: unknown): boolean => canonicalJson(a) !== canonicalJson(b);
  for (const part of ["issuer", "agents", "task", "role", "upstream", "demands", "reason"] as const) {
    if (differ(asked[part], today[part])) changes.push(part);
  }
  if (differ(namesOf(asked), namesOf(today))) changes.push("permissions");
  else if (differ(asked.permissions, today.permissions)) changes.push("labels");
  const [before, now]: readonly Readonly<Record<string, unknown>>[] = [{ ...asked.subject }, { ...today.subject }];
  for (const part of new Set([...Object.keys(before ?? {}), ...Object.keys(now ?? {})])) {
    if (differ(before?.[part] ?? null, now?.[part] ?? null)) changes.push(part);
  }
  return changes;
}

function namesOf({ permissions }: HoldDocument): unknown {
  return permissions.map(({ action, resource }) => [action, resource]);
}
