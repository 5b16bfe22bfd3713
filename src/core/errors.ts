// Every refusal and fault that leaves the broker: one closed table of codes, one class, one shape of a reason.
// `detail` and reasons are public; `cause` never leaves the process; anything unknown becomes an opaque `internal`.

interface ErrorKind {
  readonly status: number;
  readonly title: string;
}

/** The closed table. `docs/errors.md` is tested against it. */
export const ERRORS = {
  malformed_request: { status: 400, title: "the request does not have the documented shape" },
  path_not_canonical: { status: 400, title: "the path or query is not in canonical form" },
  proof_invalid: { status: 401, title: "the proof of identity is not acceptable" },
  proof_expired: { status: 401, title: "the proof of identity has expired" },
  proof_replayed: { status: 401, title: "the proof of identity was used before" },
  credential_invalid: { status: 401, title: "the credential is not acceptable" },
  credential_expired: { status: 401, title: "the credential has expired" },
  environment_mismatch: { status: 403, title: "the agent and the resource are in different environments" },
  resource_unknown: { status: 403, title: "the resource is known neither to the catalogue nor to the provider" },
  operation_unlisted: { status: 403, title: "the upstream's definition does not list this operation" },
  no_role: { status: 403, title: "no role gives this agent what it asks for" },
  role_ambiguous: { status: 403, title: "several roles fit and none demands what the others do" },
  role_does_not_permit: { status: 403, title: "the role does not give this permission" },
  permission_missing: { status: 403, title: "the credential does not give this permission" },
  crossing_not_allowed: { status: 403, title: "the role does not cross between these environments" },
  power_missing: { status: 403, title: "the caller lacks the power that this route demands" },
  agent_frozen: { status: 403, title: "the agent is frozen" },
  cut_off: { status: 403, title: "a revocation covers this" },
  requirements_unsupported: { status: 403, title: "what the permission requires cannot be met" },
  reason_missing: { status: 403, title: "the permission requires a reason, and none was given" },
  approval_invalid: { status: 403, title: "the signature does not approve this request" },
  approver_ineligible: { status: 403, title: "this person cannot sign for this request" },
  attestation_invalid: { status: 403, title: "the statement on a backup is not acceptable" },
  decoy_presented: { status: 403, title: "a decoy key was presented" },
  not_found: { status: 404, title: "there is nothing here that the caller may see" },
  conflict: { status: 409, title: "the state does not allow this" },
  too_large: { status: 413, title: "the request is too large" },
  limit_reached: { status: 429, title: "a limit is used up" },
  internal: { status: 500, title: "the broker failed" },
  upstream_failed: { status: 502, title: "the upstream failed" },
  store_unavailable: { status: 503, title: "the store does not answer" },
  store_went_back: { status: 503, title: "the store has lost some of its past" },
  audit_unavailable: { status: 503, title: "the record cannot be written" },
  clock_behind: { status: 503, title: "the broker's clock cannot be trusted" },
  policy_mismatch: { status: 503, title: "this replica's policy is not the one in force" },
  secret_unavailable: { status: 503, title: "the upstream's root credential is not there" },
  upstream_timeout: { status: 504, title: "the upstream did not answer in time" },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** Why something was refused. Messages are lower case and say which rule would have to change. */
export interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly action?: string;
  readonly resource?: string;
  /** The rule that decided or would have to change: `role domain-editor`, `agent coder`, `VALETKEY_MAX_TTL`. */
  readonly rule?: string;
  /** The label values that differ, where labels decided. */
  readonly labels?: { readonly agent: readonly string[]; readonly resource: readonly string[] };
}

/** A refusal or fault with a stable code. Thrown anywhere, answered as RFC 9457 problem details. */
export class BrokerError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly reasons: readonly Reason[];
  /** Seconds after which trying again makes sense; becomes `Retry-After`. */
  readonly retryAfterSeconds: number | null;
  /** True when an event names this refusal, and the proof was consumed with it: it is proven by the caller's key. */
  readonly isRecorded: boolean;

  constructor(
    code: ErrorCode,
    detail: string,
    options: { reasons?: readonly Reason[]; retryAfterSeconds?: number; isRecorded?: boolean; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = "BrokerError";
    this.code = code;
    this.detail = detail;
    this.reasons = options.reasons ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
    this.isRecorded = options.isRecorded ?? false;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}
