// Everything that the SDK throws on purpose: refused, unreachable, still held, or over.
// Messages carry what the broker said for people to read; never a key, a proof or a credential.

export interface RefusalReason {
  /** A code of the broker's table; a later broker may know more than this SDK. */
  readonly code: string;
  readonly message: string;
  readonly action?: string;
  readonly resource?: string;
  readonly rule?: string;
  readonly labels?: { readonly agent: readonly string[]; readonly resource: readonly string[] };
}

/** The base of all errors of the SDK; thrown itself where the caller's set-up is wrong. */
export class ValetkeyError extends Error {
  override readonly name: string = "ValetkeyError";
}

/** The broker answered, and the answer is no. */
export class RefusedError extends ValetkeyError {
  override readonly name = "RefusedError";
  readonly code: string;
  readonly status: number;
  readonly reasons: readonly RefusalReason[];
  readonly retryAfterSeconds: number | null;

  constructor(refusal: {
    readonly code: string;
    readonly status: number;
    readonly detail: string;
    readonly reasons: readonly RefusalReason[];
    readonly retryAfterSeconds: number | null;
  }) {
    super(sayRefusal(refusal.detail, refusal.reasons));
    this.code = refusal.code;
    this.status = refusal.status;
    this.reasons = refusal.reasons;
    this.retryAfterSeconds = refusal.retryAfterSeconds;
  }
}

/** What went wrong on the way, or `broker_fault`: the broker answered with its own fault. */
export type UnreachableKind = "network" | "timeout" | "unexpected_answer" | "broker_fault";

/** No answer that could be used: trying again may help. */
export class BrokerUnreachableError extends ValetkeyError {
  override readonly name = "BrokerUnreachableError";
  readonly kind: UnreachableKind;
  /** The broker's own code (`store_unavailable`), where it sent one. */
  readonly code: string | null;
  readonly status: number | null;
  readonly retryAfterSeconds: number | null;

  constructor(
    kind: UnreachableKind,
    message: string,
    options: { code?: string; status?: number; retryAfterSeconds?: number | null; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.code = options.code ?? null;
    this.status = options.status ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

/** The grant is over: released, expired, or ended by a person or a policy change. Ask for another. */
export class GrantEndedError extends ValetkeyError {
  override readonly name = "GrantEndedError";
  readonly grant: string;

  constructor(grant: string, why: string, cause?: unknown) {
    super(`grant ${grant} is over: ${why}; request another`, { cause });
    this.grant = grant;
  }
}

/** The grant waits for its hold: there is no credential yet. */
export class GrantHeldError extends ValetkeyError {
  override readonly name = "GrantHeldError";
  readonly grant: string;
  readonly hold: string | null;

  constructor(grant: string, hold: string | null, what: string) {
    super(`grant ${grant} is held: ${what}`);
    this.grant = grant;
    this.hold = hold;
  }
}

/** How a hold ends that gave nothing; `unknown`: it was sent, and nobody can say whether it arrived. */
export type EndedHoldState = "denied" | "cancelled" | "expired" | "stale" | "unknown";

/** What waited will not happen any more; in the state `unknown` it may have happened. */
export class HoldEndedError extends ValetkeyError {
  override readonly name = "HoldEndedError";
  readonly hold: string;
  readonly state: EndedHoldState;
  /** A person, an agent, a cut-off's id, `policy` or `expiry`, where the broker says so. */
  readonly endedBy: string | null;
  readonly why: string | null;

  constructor(ended: {
    readonly hold: string;
    readonly state: EndedHoldState;
    readonly endedBy: string | null;
    readonly why: string | null;
  }) {
    super(sayEnd(ended));
    this.hold = ended.hold;
    this.state = ended.state;
    this.endedBy = ended.endedBy;
    this.why = ended.why;
  }
}

/** The call was made and the upstream answered, but what it said is not there any more: it can be read once. */
export class OutcomeGoneError extends ValetkeyError {
  override readonly name = "OutcomeGoneError";
  readonly hold: string;
  /** The upstream's. */
  readonly status: number | null;
  /** Length and SHA-256 of the answer's body. */
  readonly body: { readonly sha256: string; readonly bytes: number } | null;

  constructor(hold: string, outcome: Pick<OutcomeGoneError, "status" | "body">, cause?: unknown) {
    const status = outcome.status === null ? "" : ` with ${outcome.status}`;
    const digest = outcome.body === null ? "" : `; its body had the SHA-256 ${printable(outcome.body.sha256)}`;
    super(
      `the call of hold ${hold} was made and answered${status}, but the answer was read before, not kept or cannot be used${digest}; do not send the call again`,
      { cause },
    );
    this.hold = hold;
    this.status = outcome.status;
    this.body = outcome.body;
  }
}

const SAID_REASONS = 3;

function sayEnd({ hold, state, endedBy, why }: Pick<HoldEndedError, "hold" | "state" | "endedBy" | "why">): string {
  const by = endedBy === null ? "" : ` by ${printable(endedBy)}`;
  const because = why === null ? "" : `: ${printable(why)}`;
  if (state === "unknown") {
    return `nobody knows what became of hold ${hold}${because}; look at the upstream before you ask again`;
  }
  const ended = { denied: "was denied", cancelled: "was cancelled", expired: "has expired", stale: "is stale" }[state];
  return `hold ${hold} ${ended}${state === "expired" ? "" : by}${because}; nothing was done`;
}

function sayRefusal(detail: string, reasons: readonly RefusalReason[]): string {
  if (reasons.length === 0) return printable(detail);
  const said = reasons.slice(0, SAID_REASONS).map((reason) => printable(reason.message));
  const rest = reasons.length - said.length;
  return rest > 0 ? `${said.join("; ")}; and ${rest} more` : said.join("; ");
}

/** An answer's text may end up on a terminal: control and bidirectional characters are not passed on. */
function printable(text: string): string {
  return text.slice(0, 1000).replaceAll(/[\p{C}\u2028\u2029]/gu, "?");
}
