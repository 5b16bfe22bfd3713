// The exact bytes of a held call, and of what an upstream answered, at rest: sealed, and bound to the hold's id.

import type { HoldId } from "../core/ids.ts";
import { BrokerError } from "../core/errors.ts";
import type { Sealer } from "../secrets/sealer.ts";

export interface HoldSeals {
  sealRequest(id: HoldId, plain: Uint8Array): Uint8Array;
  sealOutcome(id: HoldId, plain: Uint8Array): Uint8Array;
  /** Both throw `secret_unavailable` where what was stored was altered. */
  openRequest(id: HoldId, sealed: Uint8Array): Uint8Array;
  openOutcome(id: HoldId, sealed: Uint8Array): Uint8Array;
}

export function createHoldSeals(sealer: Sealer): HoldSeals {
  const open = (purpose: "held-request" | "held-outcome", id: HoldId, sealed: Uint8Array): Uint8Array => {
    try {
      return sealer.open(purpose, id, sealed);
    } catch (cause) {
      throw new BrokerError("secret_unavailable", `what was sealed of ${id} does not open: the store was altered`, {
        cause,
      });
    }
  };
  return {
    sealRequest: (id, plain) => sealer.seal("held-request", id, plain),
    sealOutcome: (id, plain) => sealer.seal("held-outcome", id, plain),
    openRequest: (id, sealed) => open("held-request", id, sealed),
    openOutcome: (id, sealed) => open("held-outcome", id, sealed),
  };
}
