// A store as rows that every engine can write and load: for backups, restoring and moving to another engine. Sealed bytes
// stay sealed. Never has more than a page of them at once.
//
// INVARIANT, by the order in which an engine reads: what grows without end first (holds, grants, attestations, cut-offs),
// a page at a time while brokers write; then, at one moment, what is new among the cut-offs, and everything small; then
// the record up to that moment. So whatever is in a dump has its event in it, and what was cut off before the dump began
// is cut off in it. Only where nobody writes are all of them of one moment.

import type { Instant } from "../core/clock.ts";
import type { RequestId, RevocationId } from "../core/ids.ts";
import type { StoredCredential } from "../credentials/credential-port.ts";
import type { StoredGrant } from "../grants/grant-port.ts";
import type { StoredAttestation, StoredHold } from "../holds/hold-port.ts";
import type { StoredCutOff } from "../revocation/revocation-port.ts";
import type { StoredKey } from "../secrets/key-port.ts";
import type { StoredCanary, StoredSecret } from "../secrets/secret-port.ts";
import type { WebhookCursor } from "../webhooks/webhook-port.ts";

/** Bytes are base64. */
type Text = string;

export type DumpRow =
  | {
      readonly kind: "hold";
      readonly hold: StoredHold;
      /** Of one that waits. */
      readonly wakeAt: Instant | null;
      /** It is the live one of its fingerprint. */
      readonly isSame: boolean;
      readonly sealedRequest: Text | null;
      readonly sealedOutcome: Text | null;
    }
  | { readonly kind: "grant"; readonly grant: StoredGrant; readonly uses: number }
  | { readonly kind: "attestation"; readonly attestation: StoredAttestation }
  /** Forgotten: history of the grants that it ended. */
  | { readonly kind: "cut_off"; readonly cutOff: StoredCutOff; readonly isForgotten: boolean }
  | {
      readonly kind: "store";
      readonly masterKeyCheck: Text;
      readonly policyDigest: string;
      readonly policySwept: string;
      /** The last that was given. */
      readonly instant: Instant;
      readonly lastBefore: Instant;
      readonly latestExpiry: Instant;
      readonly longestTtlMs: number;
      readonly feedNumber: number;
      /** How often it was recovered, when last, and until when what was signed is refused: 0 each, where it never was. */
      readonly epoch: number;
      readonly recoveredAt: Instant;
      readonly proofsAfter: Instant;
      /** What it has lost that nobody has acknowledged; empty: nothing (semantics, rule 36). */
      readonly wentBack: string;
    }
  | {
      readonly kind: "key";
      readonly key: Omit<StoredKey, "sealed">;
      /** Null, and a number in the feed: it is retired. */
      readonly sealed: Text | null;
      readonly retiredNumber: number | null;
    }
  | {
      readonly kind: "secret";
      readonly secret: Omit<StoredSecret, "sealedKey" | "sealedValue">;
      readonly sealedKey: Text;
      readonly sealedValue: Text;
    }
  | { readonly kind: "secret_version"; readonly name: string; readonly version: number }
  | { readonly kind: "canary"; readonly canary: Omit<StoredCanary, "hash">; readonly hash: Text }
  | { readonly kind: "frozen"; readonly agent: string; readonly revocation: RevocationId }
  | { readonly kind: "cursor"; readonly cursor: WebhookCursor }
  | { readonly kind: "credential"; readonly credential: StoredCredential }
  | { readonly kind: "open_call"; readonly call: RequestId; readonly seq: number }
  /** Of a handover alone: after a restore no earlier proof counts, and nothing is left of any minute. */
  | { readonly kind: "proof"; readonly key: string; readonly forgetAt: Instant; readonly isLate: boolean }
  | { readonly kind: "use"; readonly agent: string; readonly role: string; readonly instant: Instant }
  /** As it was hashed. */
  | { readonly kind: "entry"; readonly text: string };

export type RowKind = DumpRow["kind"];

/** In the order in which they come. */
export const ROW_KINDS = [
  "hold",
  "grant",
  "attestation",
  "cut_off",
  "store",
  "key",
  "secret",
  "secret_version",
  "canary",
  "frozen",
  "cursor",
  "credential",
  "open_call",
  "proof",
  "use",
  "entry",
] as const satisfies readonly RowKind[];

export interface DumpOptions {
  /** Nobody writes, and what is loaded goes on where this ends. */
  readonly isHandover: boolean;
}

/** Reads a store without writing to it, also while brokers run. */
export interface DumpedStore {
  rows(options: DumpOptions): AsyncIterable<DumpRow>;
  close(): Promise<void>;
}

/** A store that nobody else can open. */
export interface HeldStore extends DumpedStore {
  /** Where an earlier run has moved it to; `isWhole`: and what is there was opened to brokers. Null: nowhere. */
  readonly moved: { readonly place: string; readonly isWhole: boolean } | null;
  /** No broker opens it any more: each is told where it went. Durable when it returns. */
  shut(place: string): Promise<void>;
  /** After `shut`, when brokers may use the other. */
  finish(): Promise<void>;
}

/** An empty store that is being filled. Until it is published no broker can use it. */
export interface LoadedStore extends DumpedStore {
  load(rows: AsyncIterable<DumpRow> | Iterable<DumpRow>): Promise<void>;
  publish(): Promise<void>;
}

/** What a held grant needs to be more than a row that nobody can end. */
export function isHeldWithout(holds: ReadonlySet<string>, { hold, endsAt, endedAt }: StoredGrant): boolean {
  return hold !== null && endsAt === 0 && endedAt === null && !holds.has(hold);
}

/** Live ones, by what the scripts and tables take for live. */
export function isLiveHold({ state }: Pick<StoredHold, "state">): boolean {
  return state === "waiting" || state === "firing";
}

/** About how many characters it has, so that what is held at once can be bounded. */
function weightOf(row: DumpRow): number {
  switch (row.kind) {
    case "entry":
      return row.text.length;
    case "hold":
      return 4000 + (row.sealedRequest?.length ?? 0) + (row.sealedOutcome?.length ?? 0);
    case "secret":
      return 1000 + row.sealedValue.length;
    default:
      return 1000;
  }
}

/** In order, each of at most so many rows and about so many characters; one row at least. */
export async function* inBatches(
  rows: AsyncIterable<DumpRow> | Iterable<DumpRow>,
  { count, characters }: { readonly count: number; readonly characters: number },
): AsyncGenerator<readonly DumpRow[]> {
  let batch: DumpRow[] = [];
  let weight = 0;
  for await (const row of rows) {
    batch.push(row);
    weight += weightOf(row);
    if (batch.length < count && weight < characters) continue;
    yield batch;
    [batch, weight] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}
