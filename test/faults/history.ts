// What was asked of the brokers, when, and what they answered: the checks hold the record against it. Times are of this
// process's steady clock.

import { BrokerUnreachableError, RefusedError } from "../../src/sdk/errors.ts";

/** What the record holds if the answer was yes: an entry of one of these types, with this value. */
export interface Expected {
  readonly types: readonly string[];
  readonly field: "credential" | "grant" | "hold" | "revocation" | "reason";
  readonly value: string;
}

export interface Operation {
  readonly kind: string;
  readonly slot: number;
  readonly askedAt: number;
  readonly answeredAt: number;
  /** `ok`, a code of the broker's, or `unreachable`: then nobody knows. */
  readonly outcome: string;
  readonly expected: Expected | null;
}

/** A call through the gateway, made at once or held. `body` is its own alone. */
export interface Call {
  readonly body: string;
  readonly operation: "write" | "once" | "again";
  readonly grant: string;
  readonly answer: { readonly status: number; readonly hold: string | null } | null;
}

/** A credential that an offline verifier is asked about, and what ended it. */
export interface Watched {
  readonly grant: string;
  readonly agent: string;
  readonly task: string;
  readonly credential: string;
  /** When it was answered that this is ended. */
  revokedAt: number | null;
}

export interface History {
  readonly operations: readonly Operation[];
  readonly calls: readonly Call[];
  readonly cancelled: ReadonlySet<string>;
  add(operation: Operation): void;
  addCall(call: Call): void;
  addCancelled(hold: string): void;
}

export function createHistory(): History {
  const operations: Operation[] = [];
  const calls: Call[] = [];
  const cancelled = new Set<string>();
  return {
    operations,
    calls,
    cancelled,
    add: (operation) => void operations.push(operation),
    addCall: (call) => void calls.push(call),
    addCancelled: (hold) => void cancelled.add(hold),
  };
}

/** Of a call through the gateway: `code` as of an outcome. */
export class NotAnswered extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`not answered: ${code}`);
    this.name = "NotAnswered";
    this.code = code;
  }
}

/** What a thrown error says of the outcome. Anything that is no answer of a broker is a fault of the suite, and thrown on. */
export function outcomeOf(thrown: unknown): string {
  if (thrown instanceof RefusedError || thrown instanceof NotAnswered) return thrown.code;
  if (thrown instanceof BrokerUnreachableError) {
    if (thrown.kind === "broker_fault" && thrown.code !== null) return thrown.code;
    // A broker that closes, and one that begins, answers 503 without words.
    if (["broker_fault", "unexpected_answer"].includes(thrown.kind) && thrown.status !== 503) throw thrown;
    return "unreachable";
  }
  throw thrown;
}

/** Nobody can say of these whether it was done. */
export function isUnknown(outcome: string): boolean {
  return outcome === "unreachable" || outcome === "store_unavailable" || outcome === "internal";
}
