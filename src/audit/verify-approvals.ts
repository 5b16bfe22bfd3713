// Verifies the approvals of a record offline, in the same pass as its chain: that each signature is over the request that
// is on record, and that nothing fired before, or other than, its document demanded. Trusts no verdict of the broker; memory
// is bounded by what waits at one time. What it could not check it reports: it never passes over it.

import type { Instant } from "../core/clock.ts";
import { type HoldId, instantOf } from "../core/ids.ts";
import type { Signed } from "../core/quorum.ts";
import { factsDigest, type HoldEntry, readDocument, readHoldEntry, readHoldId, readNames } from "./hold-entries.ts";
import { findFiringFaults, type OpenHold } from "./judge-firing.ts";
import { judgeSignature, type SignableHold } from "./judge-signature.ts";
import { type Attested, readAttestation } from "./read-attestation.ts";
import { type RecordProblem, type RecordVerdict, verifyRecord } from "./verify-record.ts";

export interface ApprovalsVerdict {
  /** Created. */
  readonly holds: number;
  /** Of people, that verified. */
  readonly signatures: number;
  /** Claims of calls and activations of grants that were held against their demands. */
  readonly firings: number;
  readonly problems: readonly RecordProblem[];
}

/** True where this key, by its RFC 7638 thumbprint, is registered for the person. */
export type IsRegistered = (person: string, key: string) => boolean;

interface Hold extends OpenHold, SignableHold {
  readonly document: OpenHold["document"];
  readonly kind: "call" | "grant";
  /** Of what every event about it must say. */
  readonly facts: string;
  readonly approvals: Map<string, Signed>;
  /** Everybody who has signed, whatever they said. */
  readonly signers: Set<string>;
  isFiring: boolean;
  /** Of its lines. */
  readonly bytes: number;
}

interface Limits {
  readonly openHolds: number;
  readonly openBytes: number;
  readonly ended: number;
  readonly attestations: number;
  readonly keys: number;
}

const MAX_PROBLEMS = 100;
/** Those of 32 permissions, by 32 demands. */
const MAX_BACKUPS = 1024;
/** The id of a hold carries the instant of its request; its entry follows within this time, or says something else. */
const MAX_CREATION_MS = 300_000;
const LIMITS: Limits = {
  openHolds: 200_000,
  openBytes: 512 * 1024 * 1024,
  ended: 200_000,
  attestations: 100_000,
  keys: 100_000,
};

/** As `verifyRecord`, with a verdict on approvals beside it. Neither is worth anything without the other. */
export async function verifyApprovals(
  lines: AsyncIterable<string> | Iterable<string>,
  options: Parameters<typeof verifyRecord>[1] & {
    readonly isRegistered?: IsRegistered | null;
    readonly limits?: Limits;
  },
): Promise<{ readonly record: RecordVerdict; readonly approvals: ApprovalsVerdict }> {
  const check = createCheck(options.isRegistered ?? (() => true), options.limits ?? LIMITS);
  async function* watched(): AsyncGenerator<string> {
    for await (const line of lines) {
      check.read(line);
      yield line;
    }
  }
  const record = await verifyRecord(watched(), options);
  return { record, approvals: check.verdict() };
}

function createCheck(isRegistered: IsRegistered, limits: Limits) {
  const problems: RecordProblem[] = [];
  const counts = { holds: 0, signatures: 0, firings: 0 };
  const open = new Map<HoldId, Hold>();
  /** In the order in which they ended. They are kept while another of the same id could be created. */
  const ended = new Map<HoldId, { readonly how: string; readonly at: Instant }>();
  /** In the order of the record; the oldest are forgotten. */
  const attested = new Map<string, Attested>();
  const people = new Map<string, string>();
  let openBytes = 0;
  let last = { seq: 0, at: 0 };

  const report = (seq: number | null, message: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push({ seq, message });
  };

  const forget = (at: Instant): void => {
    for (const [oldest, { at: endedAt }] of ended) {
      if (endedAt + MAX_CREATION_MS >= at) break;
      ended.delete(oldest);
    }
  };

  const end = (id: HoldId, how: string, at: Instant): void => {
    openBytes -= open.get(id)?.bytes ?? 0;
    open.delete(id);
    ended.set(id, { how, at });
    forget(at);
  };

  /** A fault, or null. What was not soundly created cannot be approved, and cannot fire. */
  const create = (entry: HoldEntry, id: HoldId, bytes: number): string | null => {
    if (open.has(id) || ended.has(id)) return "a hold of this id is on record before it";
    const document = readDocument(entry);
    if ("fault" in document) return document.fault;
    const approvers = readNames(entry.fields["approvers"]);
    if (approvers === null) return "it does not name who could approve it";
    const requestedAt = instantOf(id);
    if (requestedAt > entry.at || requestedAt < entry.at - MAX_CREATION_MS)
      return "its id does not carry the time of its request";
    forget(entry.at);
    if (open.size >= limits.openHolds || openBytes + bytes > limits.openBytes || ended.size >= limits.ended)
      return "more holds are open, or ended just before, than this check keeps: it and what becomes of it is not checked";
    const { agents, permissions, demands, reason, subject } = document;
    open.set(id, {
      id,
      kind: subject.kind,
      document: { agents, permissions, demands, reason },
      digest: String(entry.fields["digest"]),
      facts: factsDigest(entry.fields),
      requestedAt,
      approvers,
      approvals: new Map(),
      signers: new Set(),
      isFiring: false,
      bytes,
    });
    openBytes += bytes;
    return null;
  };

  const sign = (entry: HoldEntry, hold: Hold, decision: "approve" | "deny"): string | null => {
    const judged = judgeSignature(entry, hold, decision);
    if (!("fault" in judged) || judged.isVerified) counts.signatures++;
    if ("fault" in judged) return judged.fault;
    const { person, teams, key } = judged;
    if (hold.signers.has(person)) return `${person} had signed before`;
    const known = people.get(key);
    if (known !== undefined && known !== person) return `its key is the one by which ${known} signed before`;
    if (known === undefined) {
      if (people.size >= limits.keys) return `it is by more keys than the ${limits.keys} that this check keeps`;
      people.set(key, person);
      // It counts nevertheless: that a key was removed since is no fault of what it signed.
      if (!isRegistered(person, key)) report(entry.seq, `${hold.id}: its key is not registered for ${person} today`);
    }
    hold.signers.add(person);
    if (decision === "approve") hold.approvals.set(person, { person, teams, at: entry.at });
    return null;
  };

  const fire = ({ fields, at }: HoldEntry, hold: Hold): readonly string[] => {
    const approvals = readNames(fields["approvals"]);
    const backups = readBackups(fields["backups"]);
    if (approvals === null || backups === null) return ["it does not say what it rests on"];
    counts.firings++;
    return findFiringFaults(hold, { approvals, backups }, attested, at);
  };

  const attest = (entry: HoldEntry): string | null => {
    const found = readAttestation(entry);
    if ("fault" in found) return found.fault;
    if (attested.has(found.id)) return "a statement of this id is on record before it";
    attested.set(found.id, found.attested);
    for (const oldest of attested.keys()) {
      if (attested.size <= limits.attestations) break;
      attested.delete(oldest);
    }
    return null;
  };

  /** What the entry is by itself, and where it stands in the life of its hold. */
  const step = (entry: HoldEntry, hold: Hold): readonly (string | null)[] => {
    const { type, at } = entry;
    const whileFiring = hold.isFiring ? "it is claimed, and what became of that is not on record before" : null;
    const whileWaiting = hold.isFiring ? null : "it was not claimed before";
    switch (type) {
      case "hold.approved":
        return [whileFiring, sign(entry, hold, "approve")];
      case "hold.denied":
        end(hold.id, "it was denied before", at);
        return [whileFiring, sign(entry, hold, "deny")];
      case "hold.claimed": {
        const kind = hold.kind === "call" ? null : "a grant is not claimed: it becomes active";
        const faults = fire(entry, hold);
        hold.isFiring = true;
        return [whileFiring, kind, ...faults];
      }
      case "hold.fired":
        end(hold.id, "it had fired before", at);
        return hold.kind === "call" ? [whileWaiting] : [whileFiring, ...fire(entry, hold)];
      case "hold.returned":
        hold.isFiring = false;
        return [whileWaiting];
      case "hold.unknown":
        end(hold.id, "it was sent before, and nobody knows what it did", at);
        return [whileWaiting];
      case "hold.cancelled":
        // A revocation may come between the claim and the send.
        end(hold.id, "it was cancelled before", at);
        return [];
      case "hold.expired":
        end(hold.id, "it had expired before", at);
        return [whileFiring];
      case "hold.invalidated":
        end(hold.id, "it was stale before", at);
        return [whileFiring];
      default:
        return ["this version does not know its type"];
    }
  };

  const judge = (entry: HoldEntry, bytes: number): readonly (string | null)[] => {
    if (entry.type === "backup.attested") return [attest(entry)];
    const id = readHoldId(entry);
    if (id === null) return ["it names no hold"];
    if (entry.type === "hold.created") {
      counts.holds++;
      const fault = create(entry, id, bytes);
      const isUnknown = !open.has(id) && !ended.has(id);
      if (fault !== null && isUnknown && ended.size < limits.ended) end(id, "it was not soundly created", entry.at);
      return [fault];
    }
    const hold = open.get(id);
    if (hold === undefined) return [ended.get(id)?.how ?? "no such hold is open: it was never created, or has ended"];
    // Its permissions may be cut in an entry that has reasons.
    const said = entry.type === "hold.invalidated" ? entry.fields["digest"] === hold.digest : isOf(entry, hold);
    return [said ? null : "what it says of the hold is not what was requested", ...step(entry, hold)];
  };

  return {
    read(line: string): void {
      const entry = readHoldEntry(line);
      if (entry === null) return;
      if ("fault" in entry) return report(entry.seq, `entry ${entry.seq}: ${entry.fault}`);
      const { seq, at, type } = entry;
      if (at < last.at)
        report(seq, `entry ${seq} is of an earlier time than entry ${last.seq}: nothing runs backwards`);
      else last = { seq, at };
      const about = readHoldId(entry) ?? "a backup";
      for (const fault of judge(entry, Buffer.byteLength(line))) {
        if (fault !== null) report(seq, `${type.slice(0, 32)} of ${about}: ${fault}`);
      }
    },
    verdict: (): ApprovalsVerdict => ({ ...counts, problems }),
  };
}

function isOf({ fields }: HoldEntry, { facts }: Hold): boolean {
  return factsDigest(fields) === facts;
}

function readBackups(value: unknown = []): readonly string[] | null {
  const isList = Array.isArray(value) && value.length <= MAX_BACKUPS && value.every((id) => typeof id === "string");
  return isList ? value : null;
}
