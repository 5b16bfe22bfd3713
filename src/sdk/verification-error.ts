// Why a credential was not accepted, with codes that stay. Messages are safe to answer with: nothing of the credential.

import { ValetkeyError } from "./errors.ts";

export type VerificationCode =
  | "credential_missing"
  | "credential_invalid"
  | "credential_expired"
  | "wrong_audience"
  | "wrong_environment"
  | "cut_off"
  | "permission_missing"
  /** The verifier does not know enough to accept anything: it fails closed. */
  | "feed_stale"
  | "keys_unavailable";

export class VerificationError extends ValetkeyError {
  override readonly name = "VerificationError";
  readonly code: VerificationCode;

  constructor(code: VerificationCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
