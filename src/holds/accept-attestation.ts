// Takes a signed statement on backups from an agent that is registered to attest for them (semantics, rule 25). Accepted
// or refused, it is on record. It never decides what a statement is good for: `judge-backup.ts` does, for each hold again.

import type { AttestationAnswer, AttestationRequest } from "../api/holds.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten, recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { CLOCK_TOLERANCE_MS, type Instant, toTimestamp } from "../core/clock.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { drawRandomPart, type RequestId } from "../core/ids.ts";
import { typeOf, upstreamOf } from "../core/names.ts";
import type { ConsumedProof } from "../core/proof.ts";
import { thumbprint } from "../core/thumbprint.ts";
import { joinLabels } from "../policy/looked-up.ts";
import type { Agent, PublicJwk, Resource, ScopeSet } from "../scopes/scope-set.ts";
import type { AttestationDraft, StoredAttestation } from "./hold.ts";
import type { HoldPort } from "./hold-port.ts";
import { parseStatement, type Statement, statementDigest, verifyEnvelope } from "./statement.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

export interface AttestationCall {
  readonly agent: Agent;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
}

export interface Attestations {
  /** Throws `attestation_invalid`, on record, or what the store says. The same statement again: its first ids. */
  attest(call: AttestationCall, envelope: AttestationRequest): Promise<AttestationAnswer>;
}

interface Dependencies {
  readonly port: Pick<HoldPort, "attest">;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  /** Holds that wait for it were woken. */
  readonly onAttested: () => void;
}

/** No demand is older; a statement on what is longer ago is a mistake or a replay. */
const MAX_BACKUP_AGE_MS = 90 * 86_400_000;

export function createAttestations({ port, record, clock, policy, onAttested }: Dependencies): Attestations {
  return {
    attest: async (call, envelope) => {
      const { agent, proof, request } = call;
      const scopes = policy();
      const at = clock.at();
      const accepted = await judge(agent, envelope, scopes, at);
      if ("reasons" in accepted) {
        const { reasons } = accepted;
        await recordCall(record, at, proof, {
          type: "backup.refused",
          agent: agent.name,
          reasons,
          request,
          policy: scopes.digest,
        });
        const [{ code, message }] = reasons;
        throw new BrokerError(code, message, { reasons, isRecorded: true });
      }
      const attestations = draftAttestations(accepted, agent.name).map((attestation) => ({
        attestation,
        event: draftEvent({
          type: "backup.attested",
          ...factsOf(attestation),
          envelope: envelopeOf(envelope, accepted.key),
          key: { ...accepted.key },
          request,
          policy: scopes.digest,
        }),
      }));
      const done = await port.attest({ at, proof, agent: agent.name, attestations });
      if (done.outcome === "agent_frozen") throw new BrokerError("agent_frozen", "a frozen agent attests nothing");
      if (done.outcome !== "attested") throw notWritten(done);
      onAttested();
      return { attestations: done.attestations.map(describeAttestation), holds: done.holds };
    },
  };
}

interface Accepted {
  readonly owner: string;
  readonly key: PublicJwk;
  readonly statement: Statement;
  /** SHA-256 of the payload. */
  readonly payload: Uint8Array;
}

interface Refused {
  readonly reasons: readonly [Reason, ...Reason[]];
}

/** In this order: who may attest at all, who signed, what it says, when, and of what. */
async function judge(
  agent: Agent,
  envelope: AttestationRequest,
  scopes: ScopeSet,
  at: Instant,
): Promise<Accepted | Refused> {
  try {
    const { name, owner, attests } = agent;
    const rule = `agent ${name}`;
    if (attests === null)
      return refused("power_missing", [{ message: `${name} is not registered to attest: it has no attests`, rule }]);
    if (owner === null)
      return refused("attestation_invalid", [
        { message: `${name} has no owner: nobody can tell to whom it is unrelated`, rule },
      ]);
    const { key, payload } = await verifyEnvelope(envelope, agent);
    const statement = parseStatement(payload);
    checkTimes(statement, at);
    const faults = statement.subjects.flatMap(({ resource }) => {
      const fault = findUncovered(resource, attests, scopes);
      return fault === null ? [] : [{ ...fault, resource, rule }];
    });
    const [first, ...others] = faults;
    return first === undefined ? { owner, key, statement, payload } : { reasons: [first, ...others] };
  } catch (thrown) {
    if (!(thrown instanceof BrokerError) || thrown.code !== "attestation_invalid") throw thrown;
    return refused("attestation_invalid", [{ message: thrown.detail }]);
  }
}

type Fault = Omit<Reason, "code">;

function refused(
  code: "attestation_invalid" | "power_missing",
  [first, ...others]: readonly [Fault, ...Fault[]],
): Refused {
  const toReason = (fault: Fault): Reason => ({ code, ...fault });
  return { reasons: [toReason(first), ...others.map(toReason)] };
}

function checkTimes({ takenAt, restoreTestedAt }: Statement, at: Instant): void {
  const latest = at + CLOCK_TOLERANCE_MS;
  if (takenAt > latest) refuse("takenAt is in the future: compare the clocks of attestor and broker");
  if (takenAt < at - MAX_BACKUP_AGE_MS) refuse(`takenAt is more than ${MAX_BACKUP_AGE_MS / 86_400_000} days ago`);
  if (restoreTestedAt === null) return;
  if (restoreTestedAt < takenAt)
    refuse("restoreTestedAt is before takenAt: a restore is tested after the backup is taken");
  if (restoreTestedAt > latest) refuse("restoreTestedAt is in the future: compare the clocks of attestor and broker");
}

function refuse(detail: string): never {
  throw new BrokerError("attestation_invalid", detail);
}

function findUncovered(
  id: string,
  attests: (resource: Resource) => boolean,
  scopes: ScopeSet,
): Pick<Reason, "code" | "message"> | null {
  const resource = findResource(id, scopes);
  if (resource === null) {
    const message = `${id} is not in the catalogue, and its upstream is none of the gateway's`;
    return { code: "attestation_invalid", message };
  }
  return attests(resource) ? null : { code: "power_missing", message: `the agent's attests does not cover ${id}` };
}

/**
 * What the catalogue says of it. Where its provider is asked for labels, nobody asks here: only the built-in ones are known,
 * so that a selector that names another label does not cover it.
 */
function findResource(id: string, scopes: ScopeSet): Resource | null {
  const known = scopes.resources.get(id);
  if (known !== undefined) return known;
  const upstream = scopes.upstreams.get(upstreamOf(id));
  if (upstream === undefined || !isBehindGateway(upstream)) return null;
  return joinLabels(id, { upstream: [upstream.name], type: [typeOf(id)] }, null);
}

function draftAttestations({ owner, key, statement, payload }: Accepted, agent: string): readonly AttestationDraft[] {
  const { subjects, location, takenAt, restoreTestedAt, sizeBytes } = statement;
  return subjects.map(({ resource, sha256 }) => ({
    random: drawRandomPart(),
    resource,
    agent,
    owner,
    location,
    takenAt,
    restoreTestedAt,
    bytes: sizeBytes,
    sha256,
    key: thumbprint(key),
    statement: statementDigest(payload, agent, resource),
  }));
}

function factsOf(draft: AttestationDraft) {
  const { agent, owner, resource, location, bytes, sha256 } = draft;
  return { agent, owner, resource, location, ...timesOf(draft), bytes, sha256 };
}

/** For the record: with the name of the key that it verified with. What the sender called it nobody has signed. */
function envelopeOf({ payloadType, payload, signatures }: AttestationRequest, key: PublicJwk) {
  return { payloadType, payload, signatures: signatures.map(({ sig }) => ({ keyid: thumbprint(key), sig })) };
}

function describeAttestation(stored: StoredAttestation): AttestationAnswer["attestations"][number] {
  const { id, resource, agent, location, bytes, sha256 } = stored;
  const { takenAt, restoreTestedAt } = timesOf(stored);
  return { id, resource, agent, location: { ...location }, takenAt, restoreTestedAt, bytes, sha256 };
}

function timesOf({ takenAt, restoreTestedAt }: Pick<AttestationDraft, "takenAt" | "restoreTestedAt">) {
  return {
    takenAt: toTimestamp(takenAt),
    restoreTestedAt: restoreTestedAt === null ? null : toTimestamp(restoreTestedAt),
  };
}
