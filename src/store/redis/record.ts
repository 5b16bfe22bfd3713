// The record in Redis. A transition puts its entries into `drafts`, in their places and durable; whoever comes first
// links them by their hashes. INVARIANT: the linked record follows from the drafts alone, so any broker can go on with it.

import type { RecordPort } from "../../audit/record-port.ts";
import { BrokerError } from "../../core/errors.ts";
import { EMPTY_HASH, type Head, type Leaf, type LeafDraft, placeLeaf } from "../../core/leaf.ts";
import { type Instant, toTimestamp } from "../../core/clock.ts";
import type { Client, Scripts } from "./scripts.ts";
import { shareRuns } from "./share-runs.ts";

/** Linked at once: some tens of milliseconds. */
const SEALED_ROWS = 500;
const SEALED_CHARACTERS = 1_048_576;

/** An event on its way to a script. Throws `audit_unavailable` where it could not become an entry. */
export function toDraft({ random, fields }: LeafDraft, ids: Readonly<Record<string, string>> = {}): object {
  try {
    // As large as it can become: with the highest number, a hash, and the ids that the store makes.
    placeLeaf({ random, fields }, ids, { seq: Number.MAX_SAFE_INTEGER - 1, hash: EMPTY_HASH }, 0);
  } catch (cause) {
    const why = cause instanceof RangeError ? cause.message : "an entry of the record has no canonical form";
    throw new BrokerError("audit_unavailable", `${why}; nothing was done`, { cause });
  }
  return { random, fields: JSON.stringify(fields) };
}

interface Sealer {
  /** Links everything that is placed at this moment; answers where the record then ends. */
  seal(): Promise<Head>;
}

export function createSealer(client: Client, scripts: Scripts, base: string): Sealer {
  /** Another broker has linked more: what it linked is not among the drafts any more. */
  const hasMoved = async (from: number): Promise<boolean> =>
    Number((await client.hget(`${base}meta`, "sealed_seq")) ?? 0) !== from;

  async function sealAll(): Promise<Head> {
    // What comes while this runs is for the next run: a busy store would never let it end.
    let wanted: number | null = null;
    for (;;) {
      const [placed, seq, hash] = await client.hmget(`${base}meta`, "seq", "sealed_seq", "sealed_hash");
      wanted ??= Number(placed ?? 0);
      let head: Head = { seq: Number(seq ?? 0), hash: hash ?? EMPTY_HASH };
      if (head.seq >= wanted) return head;
      const after = head.seq;
      const drafts = await client.xrange(`${base}drafts`, `${after + 1}-0`, "+", "COUNT", SEALED_ROWS);
      const next = drafts[0]?.[0];
      if (next !== `${after + 1}-0`) {
        if (await hasMoved(after)) continue;
        throw broken(`entry ${after + 1} is not there, the next is ${next ?? "none"}`);
      }
      const leaves: Leaf[] = [];
      let characters = 0;
      for (const [id, values] of drafts) {
        if (characters > SEALED_CHARACTERS) break;
        const leaf = leafOf(values, head);
        characters += leaf.text.length;
        if (id !== `${leaf.seq}-0`) throw broken(`entry ${leaf.seq} is not there, the next is ${id}`);
        leaves.push(leaf);
        head = { seq: leaf.seq, hash: leaf.hash };
      }
      await scripts.run("seal", { after, leaves: leaves.map(({ text, hash: own }) => ({ text, hash: own })) });
    }
  }

  return { seal: shareRuns(sealAll) };
}

/** The values of one draft: `instant`, `random`, `fields`, then ids by name. */
function leafOf(values: readonly string[], head: Head): Leaf {
  const named = new Map<string, string>();
  for (let i = 0; i + 1 < values.length; i += 2) named.set(String(values[i]), String(values[i + 1]));
  const [instant, random, text] = ["instant", "random", "fields"].map((name) => named.get(name) ?? "");
  for (const name of ["instant", "random", "fields"]) named.delete(name);
  const before = named.get("before");
  if (before !== undefined) named.set("before", toTimestamp(Number(before)));
  // Written by `toDraft` from an event's fields.
  const fields = JSON.parse(text ?? "") as LeafDraft["fields"];
  return placeLeaf({ random: random ?? "", fields }, Object.fromEntries(named), head, Number(instant));
}

function broken(what: string): BrokerError {
  return new BrokerError("store_unavailable", `the record is broken: ${what}; restore a backup`);
}

export function createRecordPort(client: Client, scripts: Scripts, base: string, sealer: Sealer): RecordPort {
  const seal = (): Promise<Head> => sealer.seal();
  const linked = async (seq: number): Promise<Head> => {
    await seal();
    const [entry] = await client.xrange(`${base}record`, `${seq}-0`, `${seq}-0`);
    const hash = entry?.[1][3];
    if (hash === undefined) throw broken(`entry ${seq} was not linked`);
    return { seq, hash };
  };
  return {
    append: async ({ at, proof, events }) => {
      const drafts = events.map((event) => toDraft(event));
      const [outcome, instant, seq] = await scripts.run("append", { at, proof, events: drafts });
      switch (outcome) {
        case "appended":
          return {
            outcome,
            instant: Number(instant),
            head: seq === "0" ? { seq: 0, hash: EMPTY_HASH } : await linked(Number(seq)),
          };
        case "clock_behind":
          return { outcome, instant: Number(instant) };
        case "proof_replayed":
          return { outcome };
        default:
          throw new BrokerError("internal", `the store answered ${outcome}`);
      }
    },
    head: async () => {
      const head = await seal();
      const instant: Instant = Number((await client.hget(`${base}meta`, "instant")) ?? 0);
      return { ...head, instant };
    },
    read: async (after, limit) => {
      await seal();
      const entries = await client.xrange(`${base}record`, `${after + 1}-0`, "+", "COUNT", limit);
      return entries.map(([, values]) => values[1] ?? "");
    },
  };
}
