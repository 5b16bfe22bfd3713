// What callers do with holds: read, sign, cancel, and read the outcome. Every change is a command of `reduce.ts`, written by
// compare-and-set with its event; who loses a race reads again. Firing is in `runner.ts`.

import type { ApprovalRequest, Hold, HoldPage, HoldQuery, OutcomeAnswer } from "../api/holds.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten, recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { CLOCK_TOLERANCE_MS } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { digestOfHold } from "../core/hold-document.ts";
import { type GrantId, type HoldId, instantOf, type RequestId } from "../core/ids.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { AnyPrincipal, Person, ScopeSet } from "../scopes/scope-set.ts";
import { assess } from "./assess.ts";
import { agentOf, describeHold, factsOf } from "./describe-hold.ts";
import { findFacts, type JudgedBackup } from "./facts.ts";
import { type ApprovalDraft, type FoundHold, LIVE_STATES, type StoredHold } from "./hold.ts";
import type { HoldPort } from "./hold-port.ts";
import { ownersOf } from "./owners.ts";
import { type HoldCommand, reduce } from "./reduce.ts";
import type { HoldSeals } from "./sealed.ts";
import { verifyApproval } from "./verify-approval.ts";

export interface HoldCall {
  readonly principal: AnyPrincipal;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
}

export interface WholeHold {
  readonly hold: Hold;
  readonly stored: StoredHold;
  readonly backups: readonly JudgedBackup[];
  /** Why the reader, a person, could not sign it today; null where they can, and for an agent. */
  readonly ineligible: string | null;
  readonly policyChanged: boolean;
}

export interface Holds {
  /** Throws `not_found`, also for what is another agent's. */
  read(reader: AnyPrincipal, id: HoldId): Promise<WholeHold>;
  list(reader: AnyPrincipal, query: HoldQuery): Promise<HoldPage>;
  /** As the wire has it. */
  describe(found: FoundHold): Promise<Hold>;
  /** One person approves, or denies and so ends it. A refused signature is on record. */
  sign(call: HoldCall & { readonly principal: Person }, id: HoldId, body: ApprovalRequest): Promise<Hold>;
  cancel(call: HoldCall, id: HoldId, reason: string | null): Promise<Hold>;
  /** Once. Throws `not_found` where there is none, or none any more. */
  readOutcome(call: HoldCall, id: HoldId): Promise<OutcomeAnswer>;
  /** Of a grant that was held: its hold, where it has fired, is of this grant, and people's signatures still verify. */
  firedHold(id: HoldId, grant: GrantId): Promise<StoredHold | null>;
  /** The bytes of a held call's body, as they will be sent. */
  bodyOf(hold: StoredHold): Promise<Uint8Array | null>;
}

interface Dependencies {
  readonly port: HoldPort;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  readonly seals: HoldSeals;
  /** What a frozen agent attested does not count. */
  readonly isFrozen: (agent: string) => boolean;
  /** Reads the body out of what `gateway/` sealed. */
  readonly bodyIn: (request: Uint8Array) => Uint8Array | null;
  /** Something changed: whoever waits looks again. */
  readonly onChange: () => void;
}

const DEFAULT_PAGE = 50;
/** Racing signers each lose once to each other. */
const MAX_TRIES = 8;

export function createHolds(dependencies: Dependencies): Holds {
  const { port, clock, policy, seals, isFrozen, bodyIn, onChange } = dependencies;

  const look = async (found: FoundHold) => {
    const instant = clock.at();
    const facts = await findFacts(port, found.hold, policy(), instant, dependencies);
    const assessment = assess(found.hold, facts, instant);
    return { facts, assessment, hold: describeHold(found, facts, assessment, instant) };
  };
  const describe = async (found: FoundHold): Promise<Hold> => (await look(found)).hold;

  const find = async (reader: AnyPrincipal, id: HoldId): Promise<FoundHold> => {
    const found = await port.findHold(id);
    if (found === null || (reader.kind === "Agent" && agentOf(found.hold).name !== reader.name)) throw notFound(id);
    return found;
  };

  /** Commands of people and agents: reduced at this instant, written where nothing has changed since. */
  const apply = async (call: HoldCall, id: HoldId, command: (found: FoundHold) => Promise<Applied>): Promise<Hold> => {
    for (let tries = 1; ; tries++) {
      const found = await find(call.principal, id);
      if (found.cutOff !== null) throw new BrokerError("conflict", `a revocation, ${found.cutOff}, has cancelled it`);
      const { reduced, event } = await command(found);
      const done = await port.changeHold({
        at: clock.at(),
        proof: call.proof,
        id,
        version: found.hold.version,
        ...reduced,
        // Looked at at once: it may have become ready.
        wakeAt: clock.at(),
        keepUntil: null,
        event,
      });
      if (done.outcome === "changed") {
        onChange();
        return describe({ hold: done.hold, cutOff: null });
      }
      if (done.outcome !== "conflict") throw notWritten(done);
      if (tries >= MAX_TRIES) throw new BrokerError("conflict", "it keeps changing: read it again");
    }
  };

  const reduceNow = async ({ hold }: FoundHold, command: HoldCommand) => {
    const { assessment } = await look({ hold, cutOff: null });
    const reduced = reduce(hold, command, clock.at(), assessment);
    if (reduced.outcome === "changed") return { to: reduced.to, approval: reduced.approval };
    throw new BrokerError("conflict", reduced.outcome === "refused" ? reduced.message : "there is nothing to change");
  };

  return {
    describe,
    read: async (reader, id) => {
      const found = await find(reader, id);
      const { hold, facts } = await look(found);
      const scopes = policy();
      const ineligible = reader.kind === "Person" ? findIneligible(reader, found.hold, scopes) : null;
      const policyChanged = found.hold.policyDigest !== scopes.digest;
      return { hold, stored: found.hold, backups: facts.backups, ineligible, policyChanged };
    },
    list: async (reader, { limit = DEFAULT_PAGE, state, ...filter }) => {
      if (reader.kind === "Agent" && filter.agent !== undefined && filter.agent !== reader.name) {
        throw new BrokerError("power_missing", "an agent lists its own holds only");
      }
      const own = reader.kind === "Agent" ? { ...filter, agent: reader.name } : filter;
      const found = await port.listHolds({ ...own, states: storedStates(state) }, limit + 1);
      const page = await Promise.all(found.slice(0, limit).map(describe));
      return {
        holds: page.filter((hold) => isOf(hold, state)),
        next: found.length > limit ? (found[limit - 1]?.hold.id ?? null) : null,
      };
    },
    sign: (call, id, { decision, signature }) =>
      apply(call, id, async (found) => {
        const { principal: person, request } = call;
        const scopes = policy();
        const { approval, jwk } = await signatureOf(dependencies, call, found.hold, decision, signature.value, scopes);
        const reduced = await reduceNow(found, { kind: "sign", approval });
        const { teams } = approval;
        const event = draftEvent({
          type: decision === "approve" ? "hold.approved" : "hold.denied",
          ...factsOf(found.hold, scopes.digest),
          person: person.name,
          teams,
          decision,
          signature,
          key: jwk,
          request,
        });
        return { reduced, event };
      }),
    cancel: (call, id, reason) =>
      apply(call, id, async (found) => {
        const by = call.principal.name;
        const reduced = await reduceNow(found, { kind: "cancel", by, why: reason });
        const facts = { ...factsOf(found.hold, policy().digest), by, reason, request: call.request };
        return { reduced, event: draftEvent({ type: "hold.cancelled", ...facts }) };
      }),
    readOutcome: async (call, id) => {
      const { hold } = await find(call.principal, id);
      if (isFrozen(call.principal.name)) throw new BrokerError("agent_frozen", "a frozen agent reads no outcome");
      const event = draftEvent({ type: "outcome.read", ...factsOf(hold, policy().digest), request: call.request });
      // The route's proof is consumed already: it is a read, which takes something away.
      const done = await port.takeOutcome({ at: clock.at(), proof: null, id, event });
      if (done.outcome === "not_found") {
        const was = hold.outcome === null ? "there is no answer to read" : "its answer was read already, or not kept";
        throw new BrokerError("not_found", `${was}: valetkey holds ${id} says what became of it`);
      }
      if (done.outcome !== "taken") throw notWritten(done);
      // Sealed by `gateway/`, as this.
      const answer = JSON.parse(Buffer.from(seals.openOutcome(id, done.sealed)).toString()) as Omit<
        OutcomeAnswer,
        "hold"
      >;
      return { hold: id, ...answer };
    },
    firedHold: async (id, grant) => {
      const found = await port.findHold(id);
      if (found === null || found.hold.state !== "done" || found.hold.document.grant !== grant) return null;
      const { hold } = found;
      if (hold.stateAt > clock.at() + CLOCK_TOLERANCE_MS) return null;
      if (digestOfHold(hold.document) !== hold.digest) return null;
      const facts = await findFacts(port, hold, policy(), hold.stateAt, dependencies);
      // At the instant at which it says that it fired; the backup that it rested on may be forgotten by now.
      const { missing, expiresAt } = assess(hold, facts, hold.stateAt);
      if (hold.stateAt >= expiresAt || missing.some(({ kind }) => kind !== "backup")) return null;
      return hold;
    },
    bodyOf: async ({ id, document }) => {
      if (document.subject.kind === "grant") return null;
      const sealed = await port.sealedRequest(id);
      if (sealed === null) throw new BrokerError("secret_unavailable", `the bytes of ${id} are not there`);
      return bodyIn(seals.openRequest(id, sealed));
    },
  };
}

interface Applied {
  readonly reduced: Pick<Parameters<HoldPort["changeHold"]>[0], "to" | "approval">;
  readonly event: ReturnType<typeof draftEvent>;
}

/** Rules 19, 20 and 23: who may sign this, by the policy at the request and now; then the signature itself. */
async function signatureOf(
  { record, clock, seals }: Dependencies,
  { principal: person, proof, request }: HoldCall & { readonly principal: Person },
  hold: StoredHold,
  decision: ApprovalRequest["decision"],
  jws: string,
  scopes: ScopeSet,
): Promise<{ readonly approval: ApprovalDraft; readonly jwk: Readonly<Record<string, string>> }> {
  try {
    const fault = findIneligible(person, hold, scopes);
    if (fault !== null) throw new BrokerError("approver_ineligible", fault);
    const { id, digest } = hold;
    const requestedAt = instantOf(id);
    const { key, jwk } = await verifyApproval(jws, {
      person,
      hold: id,
      digest,
      decision,
      requestedAt,
      now: clock.at(),
    });
    const atRequest = hold.approvers.find((approver) => approver.person === person.name);
    if (atRequest?.keys.includes(key) !== true) {
      throw new BrokerError("approver_ineligible", "this key was not registered when it was requested");
    }
    const approval = { person: person.name, teams: person.teams, decision, key, signature: jws };
    return { approval: { ...approval, seal: seals.sealApproval(id, approval) }, jwk };
  } catch (thrown) {
    if (!(thrown instanceof BrokerError) || thrown.status >= 500) throw thrown;
    const reasons = [{ code: thrown.code, message: thrown.detail }];
    const facts = { ...factsOf(hold, scopes.digest), person: person.name, reasons, request };
    await recordCall(record, clock.at(), proof, { type: "approval.refused", ...facts });
    throw new BrokerError(thrown.code, thrown.detail, { isRecorded: true });
  }
}

function findIneligible(person: Person, hold: StoredHold, scopes: ScopeSet): string | null {
  const { name } = person;
  const teams = new Set(hold.document.demands.flatMap(({ requires }) => requires.approvals?.from ?? []));
  if (ownersOf(hold, scopes).includes(name)) return `${name} owns the agent that asks`;
  if (!hold.approvers.some((approver) => approver.person === name)) {
    return `${name} could not have signed this when it was requested: the power approve, a key and one of the teams ${[...teams].join(", ") || "(none is asked)"} are needed`;
  }
  const now = scopes.principals.get(name);
  if (now?.kind !== "Person" || !now.powers.has("approve") || !now.teams.some((team) => teams.has(team))) {
    return `${name} is in none of the teams ${[...teams].join(", ")}, or has not the power approve`;
  }
  return null;
}

/** Ready and expired follow from time: they are looked for among those that wait. */
function storedStates(state: HoldQuery["state"]) {
  switch (state) {
    case undefined:
      return undefined;
    case "live":
      return LIVE_STATES;
    case "ready":
      return ["waiting"] as const;
    case "cancelled":
    case "expired":
      return [state, "waiting"] as const;
    default:
      return [state] as const;
  }
}

function isOf({ state }: Hold, wanted: HoldQuery["state"]): boolean {
  if (wanted === undefined) return true;
  return wanted === "live" ? ["waiting", "ready", "firing"].includes(state) : state === wanted;
}

function notFound(id: HoldId): BrokerError {
  return new BrokerError("not_found", `there is no hold ${id} that the caller may see`);
}
