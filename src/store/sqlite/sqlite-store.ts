// The embedded engine: one SQLite file, a thread that writes and a thread that reads. The ports of all rooms in one
// value. This thread never touches the file; nothing here decides, and no answer is given before it is durable.

import type { RecordPort } from "../../audit/record-port.ts";
import type { HoldId } from "../../core/ids.ts";
import type { CredentialPort } from "../../credentials/credential-port.ts";
import type { CallPort } from "../../gateway/call-port.ts";
import type { FoundGrant, GrantPort } from "../../grants/grant-port.ts";
import type { HoldPort } from "../../holds/hold-port.ts";
import type { ProofPort } from "../../identity/proof-port.ts";
import type { StandingPort } from "../../replicas/standing-port.ts";
import type { GrantShape, RevocationPort } from "../../revocation/revocation-port.ts";
import type { KeyPort, StoredKey } from "../../secrets/key-port.ts";
import type { SecretPort, StoredCanary, StoredSecret } from "../../secrets/secret-port.ts";
import type { WebhookPort } from "../../webhooks/webhook-port.ts";
import { createCredentialPort, createHoldPort, createWebhookPort, toWire } from "./hold-ports.ts";
import type { WorkerTask } from "./protocol.ts";
import type { ReaderCalls } from "./reader.ts";
import type { CanaryOnWire, KeyOnWire, SecretOnWire } from "./rows.ts";
import { createSeenProofs, type SeenProofs } from "./seen-proofs.ts";
import { spend } from "./spend.ts";
import { createStandingPort } from "./standing-port.ts";
import { type Calls, type Starting, startThread, type Thread } from "./thread.ts";
import type { WriterCalls, WriterReady } from "./writer.ts";

export interface SqliteStore
  extends
    RecordPort,
    GrantPort,
    RevocationPort,
    KeyPort,
    ProofPort,
    CallPort,
    SecretPort,
    HoldPort,
    WebhookPort,
    CredentialPort {
  /** True when nothing had been recorded or sealed in the file when it was opened. */
  readonly isEmpty: boolean;
  readonly standing: StandingPort;
  /** Answers what was asked before, then releases the file. */
  close(): Promise<void>;
}

/** Of a thousand holds each: whoever revokes waits for the number, and each hold has to be looked at. */
const CANCELLED_PARTS = 10;

type Writer = Thread<WriterCalls>;
type Reader = Thread<ReaderCalls>;

/**
 * Opens the store, made when it is missing, and locks it against every other broker.
 * Rejects with `store_unavailable` and a detail that names the file and what to do.
 */
export async function openSqliteStore({ file }: { readonly file: string }): Promise<SqliteStore> {
  // Compiled code starts compiled workers; under a test runner both are TypeScript, which Node strips of its types.
  const url = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);
  const [startingWriter, startingReader] = [startThread<WriterCalls>(url), startThread<ReaderCalls>(url)];
  const writer = await begin(startingWriter, { role: "writer", file }, () => startingReader.abandon());
  // The writer's greeting is `WriterReady`.
  const ready = writer.ready as WriterReady;
  const task = { role: "reader", file: ready.file } as const;
  const reader = stopWith(writer, await begin(startingReader, task, () => writer.close()));
  const { proofsUntil, instant, proofsAfter } = ready;
  const seen = createSeenProofs({ inFileUntil: proofsUntil, instant, refusedUntil: proofsAfter });
  return {
    isEmpty: ready.isEmpty,
    ...createRecordPort(writer, reader, seen),
    ...createGrantPort(writer, reader, seen),
    ...createRevocationPort(writer, reader, seen),
    ...createKeyPort(writer, reader, seen),
    ...createProofPort(writer, reader, seen),
    ...createCallPort(writer, reader),
    ...createSecretPort(writer, reader, seen),
    ...createHoldPort(writer, reader, seen),
    ...createWebhookPort(writer, reader),
    ...createCredentialPort(writer, reader),
    standing: createStandingPort(writer, seen),
    // The writer ends last: only then is the log folded into the file.
    close: () => writer.close(reader.close()),
  };
}

async function begin<Methods extends Calls<Methods>>(
  starting: Starting<Methods>,
  task: WorkerTask,
  cleanUp: () => Promise<void>,
): Promise<Thread<Methods>> {
  try {
    return await starting.begin(task);
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** Reads end with the writer: what they would say of a store that has stopped may be another process's. */
function stopWith(writer: Writer, reader: Reader): Reader {
  return {
    ...reader,
    call(method, argument, turn) {
      const gone = writer.gone();
      return gone === null ? reader.call(method, argument, turn) : Promise.reject(gone);
    },
  };
}

function createRecordPort(writer: Writer, reader: Reader, seen: SeenProofs): RecordPort {
  return {
    append: (command) => spend(seen, command, () => writer.call("append", command)),
    head: () => reader.call("head", undefined),
    read: (after, limit) => reader.call("read", { after, limit }),
  };
}

function createGrantPort(writer: Writer, reader: Reader, seen: SeenProofs): GrantPort {
  return {
    async issue(command) {
      const answer = await spend(seen, command, () => writer.call("issue", command));
      if (answer.outcome !== "issued") return answer;
      const { random: _, ...draft } = command.grant;
      const { id, issuedAt, endsAt } = answer;
      const grant = { ...draft, id, issuedAt, endsAt, endedAt: null, endedBy: null, hold: null, version: 1 };
      return { outcome: "issued", grant };
    },
    holdGrant: (command) => {
      const hold = toWire(command.hold);
      return spend(seen, command, () => writer.call("holdGrant", { ...command, hold }));
    },
    activate: (command) => writer.call("activate", command),
    simulate: (command) => spend(seen, command, () => writer.call("simulate", command)),
    renew: (command) => spend(seen, command, () => writer.call("renew", command)),
    release: (command) => spend(seen, command, () => writer.call("release", command)),
    find: (id) => reader.call("find", id),
    async list(filter, at, limit) {
      const found: FoundGrant[] = [];
      let after = filter.after;
      while (found.length < limit) {
        const part = await reader.call("list", { filter: { ...filter, after }, at, limit: limit - found.length });
        found.push(...part.found);
        if (part.next === null) break;
        after = part.next;
      }
      return found;
    },
  };
}

function addShape(shapes: Map<string, GrantShape>, shape: GrantShape): void {
  const key = JSON.stringify([shape.agent, shape.role, shape.upstream, shape.permissions, shape.demands]);
  const known = shapes.get(key);
  const longestTtlSeconds = Math.max(shape.longestTtlSeconds, known?.longestTtlSeconds ?? 0);
  shapes.set(key, { ...shape, longestTtlSeconds, grants: shape.grants + (known?.grants ?? 0) });
}

function createRevocationPort(writer: Writer, reader: Reader, seen: SeenProofs): RevocationPort {
  return {
    cutOff: (command) => spend(seen, command, () => writer.call("cutOff", command, "first")),
    freeze: (command) => spend(seen, command, () => writer.call("freeze", command, "first")),
    unfreeze: (command) => spend(seen, command, () => writer.call("unfreeze", command)),
    reopen: (command) => spend(seen, command, () => writer.call("reopen", command)),
    findCutOff: (id) => reader.call("findCutOff", id),
    snapshot: (at) => reader.call("snapshot", at),
    async countMet(cutOff, at) {
      let met = 0;
      for (let after: string | null = null, isMore = true; isMore; isMore = after !== null) {
        const part: ReaderCalls["countMet"]["result"] = await reader.call("countMet", { cutOff, at, after });
        met += part.value;
        after = part.next;
      }
      return met;
    },
    async countCancelled(cutOff) {
      const ids = new Set<string>();
      let after: HoldId | null = null;
      for (let parts = 0; parts === 0 || (after !== null && parts < CANCELLED_PARTS); parts++) {
        const part: ReaderCalls["findCancelled"]["result"] = await reader.call("findCancelled", { cutOff, after });
        for (const id of part.ids) ids.add(id);
        after = part.next;
      }
      // Last: what the sweep has written down while its part was read is not among those.
      for (const id of await reader.call("cancelledBy", cutOff)) ids.add(id);
      return { holds: ids.size, isWhole: after === null };
    },
    async liveShapes(policyDigest, at) {
      const shapes = new Map<string, GrantShape>();
      for (let after: string | null = null, isMore = true; isMore; isMore = after !== null) {
        const part: ReaderCalls["liveShapes"]["result"] = await reader.call("liveShapes", { policyDigest, at, after });
        for (const shape of part.value) addShape(shapes, shape);
        after = part.next;
      }
      return [...shapes.values()];
    },
    activatePolicy: ({ proof = null, ...command }) =>
      spend(seen, { ...command, proof }, () => writer.call("activatePolicy", { ...command, proof }, "first")),
    async markSwept(digest) {
      await writer.call("markSwept", digest);
    },
    policyInForce: () => reader.call("policyInForce", undefined),
  };
}

function createKeyPort(writer: Writer, reader: Reader, seen: SeenProofs): KeyPort {
  return {
    keys: async () => (await reader.call("keys", undefined)).map(keyFromWire),
    async changeKeys(command) {
      const add = command.add.map((key) => ({ ...key, sealed: toText(key.sealed) }));
      return spend(seen, command, () => writer.call("changeKeys", { ...command, add }));
    },
    async masterKeyCheck() {
      const sealed = await reader.call("masterKeyCheck", undefined);
      return sealed === null ? null : toBytes(sealed);
    },
    async writeMasterKeyCheck(sealed) {
      await writer.call("writeMasterKeyCheck", toText(sealed));
    },
  };
}

function keyFromWire(key: KeyOnWire): StoredKey {
  return { ...key, sealed: toBytes(key.sealed) };
}

function createProofPort(writer: Writer, reader: Reader, seen: SeenProofs): ProofPort {
  return {
    async consume(proof, at) {
      const gone = writer.gone();
      if (gone !== null) throw gone;
      if (!seen.consumeForRead(proof, at)) return false;
      if (seen.mayBeInFile(proof) && (await reader.call("knowsProof", proof))) return false;
      // Unique already; that it becomes durable is not waited for (design, section 8), and a store that fails says so
      // to the next write.
      writer.call("rememberProof", { proof, at }).catch(() => undefined);
      return true;
    },
  };
}

function createCallPort(writer: Writer, reader: Reader): CallPort {
  return {
    beginCall: (command) => writer.call("beginCall", command),
    holdCall: (command) => writer.call("holdCall", { ...command, hold: toWire(command.hold) }),
    endCall: (command) => writer.call("endCall", command, "later"),
    openCalls: (limit) => reader.call("openCalls", limit),
  };
}

function createSecretPort(writer: Writer, reader: Reader, seen: SeenProofs): SecretPort {
  return {
    secrets: async () => (await reader.call("secrets", undefined)).map(secretFromWire),
    lastSecretVersion: (name) => reader.call("lastSecretVersion", name),
    async putSecret(command) {
      const { sealedKey, sealedValue, ...rest } = command.secret;
      const secret = { ...rest, sealedKey: toText(sealedKey), sealedValue: toText(sealedValue) };
      return spend(seen, command, () => writer.call("putSecret", { ...command, secret }));
    },
    deleteSecret: (command) => spend(seen, command, () => writer.call("deleteSecret", command)),
    canaries: async () => (await reader.call("canaries", undefined)).map(canaryFromWire),
    async addCanary(command) {
      const canary = { ...command.canary, hash: toText(command.canary.hash) };
      return spend(seen, command, () => writer.call("addCanary", { ...command, canary }));
    },
    deleteCanary: (command) => spend(seen, command, () => writer.call("deleteCanary", command)),
  };
}

function secretFromWire(secret: SecretOnWire): StoredSecret {
  return { ...secret, sealedKey: toBytes(secret.sealedKey), sealedValue: toBytes(secret.sealedValue) };
}

function canaryFromWire(canary: CanaryOnWire): StoredCanary {
  return { ...canary, hash: toBytes(canary.hash) };
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function toBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
