// What a store must not be able to read or change of a hold: the exact bytes of a call and of what an upstream answered,
// sealed, and the teams of who signed, under a keyed hash. All bound to the hold's id.

import { timingSafeEqual } from "node:crypto";
import { canonicalJson } from "../core/canonical-json.ts";
import type { HoldId } from "../core/ids.ts";
import { BrokerError } from "../core/errors.ts";
import type { Sealer } from "../secrets/sealer.ts";
import type { ApprovalDraft } from "./hold.ts";

export interface HoldSeals {
  sealRequest(id: HoldId, plain: Uint8Array): Uint8Array;
  sealOutcome(id: HoldId, plain: Uint8Array): Uint8Array;
  /** What the broker found at signing and nobody signs: which teams the person was in. */
  sealApproval(id: HoldId, approval: Omit<ApprovalDraft, "seal">): string;
  isSealed(id: HoldId, approval: ApprovalDraft): boolean;
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
  const sealApproval: HoldSeals["sealApproval"] = (id, { person, teams, decision, key, signature }) => {
    const sealed = canonicalJson({ hold: id, person, teams, decision, key, signature });
    return Buffer.from(sealer.keyedHash("approval", Buffer.from(sealed))).toString("hex");
  };
  return {
    sealApproval,
    isSealed: (id, approval) => {
      // A row of the store: whatever stands there, it does not throw.
      if (typeof approval.seal !== "string") return false;
      const [found, expected] = [Buffer.from(approval.seal, "hex"), Buffer.from(sealApproval(id, approval), "hex")];
      return found.length === expected.length && timingSafeEqual(found, expected);
    },
    sealRequest: (id, plain) => sealer.seal("held-request", id, plain),
    sealOutcome: (id, plain) => sealer.seal("held-outcome", id, plain),
    openRequest: (id, sealed) => open("held-request", id, sealed),
    openOutcome: (id, sealed) => open("held-outcome", id, sealed),
  };
}
