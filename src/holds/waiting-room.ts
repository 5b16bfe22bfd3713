// The room of what waits, put together: what callers do with holds, statements on backups, and the runner that fires. Knows
// ports and what other rooms implement for it, no engine.

import type { RecordPort } from "../audit/record-port.ts";
import type { Clock } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { Sealer } from "../secrets/sealer.ts";
import { type Attestations, createAttestations } from "./accept-attestation.ts";
import type { CallFiring, GrantFiring } from "./firing.ts";
import { createHolds, type Holds } from "./holds.ts";
import type { HoldPort } from "./hold-port.ts";
import { createHoldRunner } from "./runner.ts";
import { createHoldSeals, type HoldSeals } from "./sealed.ts";

export interface WaitingRoom {
  readonly holds: Holds;
  readonly attestations: Attestations;
  readonly seals: HoldSeals;
  /** A hold was made or changed: it may be ready, and who waits for it looks again. */
  changed(): void;
  /** A cut-off is in force: write down what it cancelled. */
  sweep(): void;
  /** From here on what is ready fires; first `recover`. */
  open(firing: { readonly calls: CallFiring; readonly grants: GrantFiring }): Promise<void>;
  /** What brokers had claimed that are gone is unknown. */
  recover(): Promise<void>;
  /** Begins no firing any more, and waits a while for those under way. */
  close(): Promise<void>;
}

interface Dependencies {
  readonly port: HoldPort;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly sealer: Sealer;
  readonly isFrozen: (agent: string) => boolean;
  /** Reads the body out of what `gateway/` sealed. */
  readonly bodyIn: (request: Uint8Array) => Uint8Array | null;
  /** False: another broker fires what is due. */
  readonly isOurs: () => Promise<boolean>;
  /** Wakes who long-polls. */
  readonly wake: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export function createWaitingRoom(dependencies: Dependencies): WaitingRoom {
  const { wake, sealer } = dependencies;
  const seals = createHoldSeals(sealer);
  let runner: ReturnType<typeof createHoldRunner> | null = null;
  const changed = (): void => {
    wake();
    runner?.poke();
  };
  const all = { ...dependencies, seals };
  return {
    holds: createHolds({ ...all, onChange: changed }),
    attestations: createAttestations({ ...dependencies, onAttested: changed }),
    seals,
    changed,
    sweep: () => runner?.sweep(),
    open: async (firing) => {
      runner = createHoldRunner({ ...all, ...firing, onChange: wake });
      await runner.recover();
    },
    recover: async () => runner?.recover(),
    close: async () => runner?.close(),
  };
}
