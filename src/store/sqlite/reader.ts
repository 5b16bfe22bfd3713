// The reader: answers questions from a connection that cannot write, so that no read ever waits for a write.
// The questions that came in together see one state of the store.

import type { DatabaseSync } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import { EMPTY_HASH, type Head } from "../../core/leaf.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import type { FeedSnapshot, StoredCutOff } from "../../revocation/revocation-port.ts";
import { createCutOffIndex, isForgotten } from "../cutoff-index.ts";
import type { StoredCredential } from "../../credentials/credential-port.ts";
import { credentialOf } from "./credential-writes.ts";
import { openForReading } from "./database.ts";
import { isStoreFailure, toFailure } from "./failure.ts";
import { prepareGrantReads, type ReadContext } from "./grant-reads.ts";
import { prepareHoldReads } from "./hold-reads.ts";
import { MASTER_KEY_CHECK } from "./key-writes.ts";
import type { Answer, Call, Handler } from "./protocol.ts";
import {
  type CanaryOnWire,
  canaryOf,
  cutOffOf,
  keyOf,
  type KeyOnWire,
  type OpenCall,
  openCallOf,
  secretOf,
  type SecretOnWire,
} from "./rows.ts";
import { versionOf } from "./secret-writes.ts";
import { loadCutOffs } from "./writer-state.ts";

export function openReader(file: string): Handler {
  const db = openForReading(file);
  const questions = prepareQuestions(db);

  function answerOne([method, argument]: Call): Answer {
    try {
      // The main thread calls through `ReaderCalls`, which pairs each method with its argument.
      const question = questions[method as keyof typeof questions] as (argument: unknown) => unknown;
      return { value: question(argument) };
    } catch (error) {
      if (isStoreFailure(error)) throw error;
      return { failure: toFailure(error) };
    }
  }

  function answer(calls: readonly Call[]): Answer[] {
    try {
      db.exec("BEGIN");
      const answers = calls.map(answerOne);
      db.exec("COMMIT");
      return answers;
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      const failure = toFailure(error);
      return calls.map(() => ({ failure }));
    }
  }

  return { ready: null, answer, close: () => db.close() };
}

type Questions = ReturnType<typeof prepareQuestions>;

/** The reader's methods as the main thread sees them. */
export type ReaderCalls = {
  readonly [Name in keyof Questions]: {
    readonly argument: Parameters<Questions[Name]>[0];
    readonly result: ReturnType<Questions[Name]>;
  };
};

function prepareQuestions(db: DatabaseSync) {
  const grants = prepareGrantReads(db);
  const holds = prepareHoldReads(db);
  const meta = db.prepare("SELECT value FROM meta WHERE key = ?");
  const last = db.prepare("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1");
  const entries = db.prepare("SELECT leaf FROM record WHERE seq > ? ORDER BY seq LIMIT ?");
  const changedRows = db.prepare(
    "SELECT * FROM cutoffs INDEXED BY cutoffs_by_version WHERE version > ? ORDER BY number",
  );
  const cutOffRow = db.prepare("SELECT * FROM cutoffs WHERE id = ? AND forgotten = 0");
  const frozenRows = db.prepare("SELECT agent FROM frozen ORDER BY agent");
  const keyRows = db.prepare("SELECT * FROM keys WHERE state <> 'retired' ORDER BY id");
  const retiredRows = db.prepare("SELECT id FROM keys WHERE state = 'retired' ORDER BY retired_number");
  const proof = db.prepare("SELECT 1 FROM proofs WHERE forget_at = ? AND key = ?");
  const lateProof = db.prepare("SELECT 1 FROM late_proofs WHERE key = ?");
  const secretRows = db.prepare("SELECT * FROM secrets ORDER BY name");
  const secretVersion = db.prepare("SELECT version FROM secret_versions WHERE name = ?");
  const canaryRows = db.prepare("SELECT * FROM canaries ORDER BY created_at, id");
  const credentialRow = db.prepare("SELECT row FROM credentials WHERE grant_id = ?");
  const dueCredentialRows = db.prepare(
    "SELECT row FROM credentials WHERE due_at <= ? ORDER BY due_at, grant_id LIMIT ?",
  );
  const credentialRows = db.prepare("SELECT row FROM credentials WHERE grant_id > ? ORDER BY grant_id LIMIT ?");
  const openCallRows = db.prepare("SELECT call, leaf FROM open_calls JOIN record USING (seq) ORDER BY seq LIMIT ?");
  let known = { version: -1, cutOffs: createCutOffIndex() };

  function number(key: string): number {
    return Number(meta.get(key)?.["value"] ?? 0);
  }

  function text(key: string): string | null {
    const value = meta.get(key)?.["value"];
    return value === undefined || value === "" ? null : String(value);
  }

  /** Reads the cut-offs that have changed; all of them only when one was removed that this may not know as forgotten. */
  function context(): ReadContext {
    const version = number("cutoffs_version");
    if (version !== known.version) {
      if (known.version < number("cutoffs_removed")) known = { version, cutOffs: loadCutOffs(db) };
      else applyChanges();
      known = { ...known, version };
    }
    const [longestTtlMs, instant, recoveredAt] = [number("longest_ttl"), number("instant"), number("recovered_at")];
    return { cutOffs: known.cutOffs, longestTtlMs, instant, recoveredAt };
  }

  function applyChanges(): void {
    for (const row of changedRows.iterate(known.version)) {
      if (row["forgotten"] === 1) known.cutOffs.drop(Number(row["number"]));
      else known.cutOffs.put(cutOffOf(row));
    }
    known.cutOffs.commit();
  }

  return {
    head(): Head & { readonly instant: Instant } {
      const row = last.get();
      const head =
        row === undefined ? { seq: 0, hash: EMPTY_HASH } : { seq: Number(row["seq"]), hash: String(row["hash"]) };
      return { ...head, instant: number("instant") };
    },
    read: ({ after, limit }: { readonly after: number; readonly limit: number }): string[] =>
      entries.all(after, limit).map((row) => String(row["leaf"])),

    find: (id: Parameters<typeof grants.find>[1]) => grants.find(context(), id),
    list: (question: Parameters<typeof grants.list>[1]) => grants.list(context(), question),
    countMet: (question: Parameters<typeof grants.countMet>[1]) => grants.countMet(context(), question),
    liveShapes: (question: Parameters<typeof grants.liveShapes>[1]) => grants.liveShapes(context(), question),

    findCutOff(id: string): StoredCutOff | null {
      const row = cutOffRow.get(id);
      const found = row === undefined ? null : cutOffOf(row);
      return found === null || isForgotten(found, number("instant")) ? null : found;
    },
    snapshot: (at: Instant): FeedSnapshot => ({
      number: number("feed_number"),
      cutOffs: context().cutOffs.all.filter((each) => !isForgotten(each, at)),
      frozen: frozenRows.all().map((row) => String(row["agent"])),
      retiredKeys: retiredRows.all().map((row) => String(row["id"])),
    }),
    policyInForce: () => ({ digest: text("policy_digest"), swept: text("policy_swept") }),

    keys: (): KeyOnWire[] => keyRows.all().map(keyOf),
    masterKeyCheck(): string | null {
      const sealed = meta.get(MASTER_KEY_CHECK)?.["value"];
      return sealed instanceof Uint8Array ? Buffer.from(sealed).toString("base64") : null;
    },
    knowsProof: ({ forgetAt, key }: ConsumedProof): boolean =>
      proof.get(forgetAt, key) !== undefined || lateProof.get(key) !== undefined,

    secrets: (): SecretOnWire[] => secretRows.all().map(secretOf),
    lastSecretVersion: (name: string): number => versionOf(secretVersion.get(name)),
    canaries: (): CanaryOnWire[] => canaryRows.all().map(canaryOf),
    findCredential(grant: string): StoredCredential | null {
      const row = credentialRow.get(grant);
      return row === undefined ? null : credentialOf(row);
    },
    dueCredentials: ({ at, limit }: { readonly at: Instant; readonly limit: number }): StoredCredential[] =>
      dueCredentialRows.all(at, limit).map(credentialOf),
    listCredentials: ({
      after,
      limit,
    }: {
      readonly after: string | null;
      readonly limit: number;
    }): StoredCredential[] => credentialRows.all(after ?? "", limit).map(credentialOf),

    openCalls: (limit: number): OpenCall[] => openCallRows.all(limit).map(openCallOf),

    ...holds,
    findHold: (id: Parameters<typeof holds.findHold>[1]) => holds.findHold(context(), id),
    listHolds: (question: Parameters<typeof holds.listHolds>[1]) => holds.listHolds(context(), question),
    dueHolds: (question: Parameters<typeof holds.dueHolds>[1]) => holds.dueHolds(context(), question),
    findCancelled: (question: Parameters<typeof holds.findCancelled>[1]) => holds.findCancelled(context(), question),
    cancelledBy: holds.cancelledBy,
    voidedHolds: (question: Parameters<typeof holds.voidedHolds>[1]) => holds.voidedHolds(context(), question),
    firingHolds: (limit: number) => holds.firingHolds(context(), limit),
  };
}
