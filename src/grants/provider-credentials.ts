// Makes the credential of a grant at another system. Read `makeCredential` from top to bottom: that list is the security
// sequence. INVARIANT: what could be accepted there has a row in the store before it can, so that it is ended whatever
// happens; and nobody is given a credential whose grant was over when it had been made.

import { createHash } from "node:crypto";
import type { Credential } from "../api/grants.ts";
import type { ProviderCredentialFacts } from "../audit/credential-events.ts";
import { draftEvent } from "../audit/events.ts";
import { toTimestamp } from "../core/clock.ts";
import { digestOf } from "../core/canonical-json.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import { type CredentialId, drawRandomPart, type GrantId, type RequestId } from "../core/ids.ts";
import type { CredentialPort, CredentialRefused, StoredCredential } from "../credentials/credential-port.ts";
import type { Made } from "../credentials/credential-system.ts";
import type { Systems } from "../credentials/systems.ts";
import { isProvider } from "../scopes/provider-upstreams.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { FoundGrant, GrantPort, StoredGrant } from "./grant-port.ts";
import { refusalOf } from "./refusal.ts";

export interface MakingDependencies {
  readonly issuer: string;
  readonly port: CredentialPort & Pick<GrantPort, "find">;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  readonly systems: Systems;
  /** Something has to be ended: at once, not when it is due. */
  readonly onEnding: () => void;
}

export interface CredentialOrder {
  /** On record, and as it is given by policy at this moment. */
  readonly grant: StoredGrant;
  readonly credential: CredentialId;
  readonly policy: ProviderPolicy;
  readonly request: RequestId;
  /** The first of this grant: where it cannot be made, the grant ends. */
  readonly isFirst: boolean;
}

/** Longer than all tries of one `make` take: for so long nobody else touches it. */
export const MAKE_MS = 60_000;
/** After a failure of which nobody knows the end: by then whatever was under way there has happened or never will. */
const DOUBT_MS = 20_000;

export async function makeCredential(dependencies: MakingDependencies, order: CredentialOrder): Promise<Credential> {
  const { port, clock, systems, onEnding, policy } = dependencies;
  const { grant, credential } = order;
  const upstream = policy().upstreams.get(grant.upstream);
  if (!isProvider(upstream))
    throw new BrokerError("conflict", "the grant's upstream is no longer defined: ask for a new grant");
  // 1. On record and in the store, in one transaction: the grant lives, and nobody else makes or ends this one.
  const { row, isNew } = await orderRow(dependencies, order);
  const facts = factsOf(row, policy().digest);
  // 2. It stays as wide as it was first made, and where that was: another definition takes a new grant.
  if (row.policy !== digestOf(order.policy)) {
    await release(dependencies, row);
    throw new BrokerError("conflict", "the upstream's definition has changed since the grant: ask for a new one");
  }
  // 3. The effect. What fails is ended, and with it a grant that has never had a credential.
  let made: Made;
  try {
    const endsInMs = Math.max(0, grant.endsAt - clock.at());
    const note = `valetkey grant ${grant.id} of agent ${grant.agent}, until ${toTimestamp(grant.endsAt)}`;
    const { id, agent, task, environments } = grant;
    const subject = { grant: id, agent, task, environments };
    made = await systems.of(upstream).make({ handle: row.handle, policy: order.policy, endsInMs, subject, note });
  } catch (thrown) {
    const why = thrown instanceof BrokerError ? thrown.detail : "for an unknown reason";
    const isKnown = thrown instanceof BrokerError && thrown.retryAfterSeconds === null;
    const at = clock.at();
    // Without the broker's own secret nobody was asked for anything: there is nothing to end.
    const isUntouched = thrown instanceof BrokerError && thrown.code === "secret_unavailable";
    const doubted = { ...row, state: "ending", endingSince: at, dueAt: at + (isKnown ? 0 : DOUBT_MS) } as const;
    const ending = isUntouched ? null : doubted;
    // One that was there before stays: its agent uses it.
    await port.changeCredential({
      at,
      grant: grant.id,
      version: row.version,
      to: isNew ? ending : { ...row, state: "live", dueAt: grant.endsAt },
      endGrantBy: order.isFirst ? "credential.failed" : null,
      event: draftEvent({ type: "credential.failed", why, ...facts }),
    });
    onEnding();
    throw thrown;
  }
  // 4. It is there. Whoever has ended it meanwhile has changed the row.
  const live = { ...row, state: "live", dueAt: grant.endsAt } as const;
  const done = await port.changeCredential({
    at: clock.at(),
    grant: grant.id,
    version: row.version,
    to: live,
    endGrantBy: null,
    event: null,
  });
  // 5. What was cut off while it was made is given to nobody.
  const found = await port.find(grant.id);
  const cause = overBy(found, clock.at());
  if (done.outcome === "conflict" || cause !== null) {
    onEnding();
    const cutOff = found?.cutOff ?? null;
    if (cutOff !== null) throw refused({ outcome: "cut_off", revocation: cutOff });
    throw new BrokerError("conflict", "the grant ended while its credential was made: ask for a new one");
  }
  const expiresAt = Math.min(grant.endsAt, made.lastsMs === null ? grant.endsAt : clock.at() + made.lastsMs);
  return { id: credential, ...made.login, expiresAt: toTimestamp(expiresAt) };
}

/** What must not be accepted any more, and why: a cut-off's id, who ended the grant, or its expiry. Null: it lives. */
export function overBy(found: FoundGrant | null, at: number): string | null {
  if (found === null) return "its grant is not there";
  const { grant, cutOff } = found;
  return cutOff ?? grant.endedBy ?? (grant.endsAt <= at ? "expiry" : null);
}

export function factsOf(row: StoredCredential, policy: string): ProviderCredentialFacts {
  const { grant, agent, task, role, upstream, kind, handle } = row;
  return { grant, agent, task, role, upstream, kind, handle, policy };
}

/** Begins the handle of every credential that a broker of this name makes at this upstream. */
export function handlePrefix(issuer: string, upstream: string): string {
  return `vk_${createHash("sha256").update(`${issuer}\n${upstream}`).digest("hex").slice(0, 8)}_`;
}

/** The grant that a handle names; null where it names none. */
export function grantOfHandle(handle: string): GrantId | null {
  const [, id] = /^vk_[0-9a-f]{8}_([0-9a-z]{26})_[0-9a-z]{8}$/.exec(handle) ?? [];
  return id === undefined ? null : `grt_${id.toUpperCase()}`;
}

function handleOf(issuer: string, upstream: string, grant: GrantId): string {
  const [id, random] = [grant.slice("grt_".length), drawRandomPart().slice(0, 8)];
  return `${handlePrefix(issuer, upstream)}${id.toLowerCase()}_${random.toLowerCase()}`;
}

async function orderRow(
  { issuer, port, clock, policy }: MakingDependencies,
  { grant, credential, policy: providerPolicy, request }: CredentialOrder,
): Promise<{ readonly row: StoredCredential; readonly isNew: boolean }> {
  const { id, agent, task, role, upstream, endsAt } = grant;
  const at = clock.at();
  const handle = handleOf(issuer, upstream, id);
  const { kind, address } = providerPolicy;
  const facts = { grant: id, agent, task, role, upstream, kind, handle };
  const { digest } = policy();
  // A renewal keeps the handle that the row has; the entry that named it first has it.
  const event = draftEvent({
    type: "credential.ordered",
    credential,
    providerPolicy,
    request,
    ...facts,
    policy: digest,
  });
  const row = { ...facts, address, policy: digestOf(providerPolicy), endsAt, dueAt: at + MAKE_MS };
  const done = await port.orderCredential({ at, agent, policyDigest: digest, credential: row, event });
  if (done.outcome === "ordered") return { row: done.credential, isNew: done.credential.handle === handle };
  throw refused(done);
}

/** It was not touched: as it was before it was ordered. */
async function release({ port, clock }: MakingDependencies, row: StoredCredential): Promise<void> {
  const to = { ...row, state: "live", dueAt: row.endsAt } as const;
  const { grant, version } = row;
  await port.changeCredential({ at: clock.at(), grant, version, to, endGrantBy: null, event: null });
}

function refused(refusal: CredentialRefused): BrokerError {
  switch (refusal.outcome) {
    case "not_found":
    case "ended":
      return new BrokerError("conflict", "the grant has ended: ask for a new one");
    case "busy": {
      const detail = "the grant's credential is being made or ended at this moment: try again";
      return new BrokerError("conflict", detail, { retryAfterSeconds: 1 });
    }
    default: {
      const reasons = refusalOf(refusal);
      return new BrokerError(reasons[0].code, reasons[0].message, { reasons });
    }
  }
}
