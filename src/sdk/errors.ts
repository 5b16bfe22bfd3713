// Everything that the SDK throws on purpose: refused, unreachable, or a grant that is over.
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

const SAID_REASONS = 3;

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
