// Why a request to an upstream came to nothing, and whether it can have had an effect there. In a file of its own: who
// handles it need not load what sends.

import type { BrokerError } from "../core/errors.ts";

/** Why there is no answer to pass on. */
export class EgressError extends Error {
  readonly error: BrokerError;
  /** False: nothing can have reached the upstream. */
  readonly sent: boolean;
  /** What the upstream answered, where it did and the answer is not acceptable. */
  readonly status: number | null;

  constructor(error: BrokerError, sent: boolean, status: number | null = null) {
    super(error.detail, { cause: error });
    this.name = "EgressError";
    this.error = error;
    this.sent = sent;
    this.status = status;
  }
}
