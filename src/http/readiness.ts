// Whether this broker gives, and if not, why: for a proxy, for `doctor`, for metrics. Anybody may ask.

import type { RecordPort } from "../audit/record-port.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { createStoreCheck } from "./check-store.ts";
import type { Providers } from "../grants/providers.ts";
import type { PolicyInForce } from "./scopes-handlers.ts";

export interface ReadinessDependencies {
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly inForce: PolicyInForce;
  /** False: it has not heard of its store for more than a second. */
  readonly isCurrent: () => boolean;
  readonly providers: Pick<Providers, "status">;
  readonly lostPast: {
    /** Why the store gives nothing; null: it does. */
    readonly problem: () => string | null;
  };
}

export interface Readiness {
  /** Empty: it gives. */
  readonly problems: readonly string[];
  /** What somebody should do, though it gives. */
  readonly notes: readonly string[];
  readonly isWritable: boolean;
  readonly isCurrent: boolean;
  readonly hasLostPast: boolean;
  readonly hasParted: boolean;
  readonly policy: ReturnType<PolicyInForce["status"]>;
  readonly providers: ReturnType<Providers["status"]>;
}

const ACTIVATE = "a person with the power administer runs `valetkey scopes activate`";

/** Never rejects. */
export function createReadiness({ record, clock, inForce, isCurrent, providers, lostPast }: ReadinessDependencies) {
  const checkStore = createStoreCheck(record, clock);
  return async (): Promise<Readiness> => {
    const store = await checkStore();
    const lost = lostPast.problem();
    const hasParted = clock.hasParted();
    const jumped = hasParted ? "the wall clock jumped: minting waits until an administrator acknowledges it" : null;
    const policy = inForce.status();
    const { pending } = policy;
    const standing = providers.status();
    return {
      problems: [jumped, inForce.problem(), store ?? lost].filter((problem) => problem !== null),
      notes: [
        ...(pending === null ? [] : [`policy ${pending.set.digest.slice(0, 12)} waits: ${ACTIVATE}`]),
        ...describeProviders(standing),
      ],
      isWritable: store === null,
      isCurrent: isCurrent(),
      hasLostPast: lost !== null,
      hasParted,
      policy,
      providers: standing,
    };
  };
}

/** Without words of theirs, which name roles and hosts: anybody may ask. */
function describeProviders({ upstreams, unconfirmed }: Readiness["providers"]): readonly string[] {
  return [
    ...upstreams
      .filter(({ circuit }) => circuit !== "closed")
      .map(({ name }) => `upstream ${name} keeps failing: no credential is made there`),
    ...upstreams
      .filter(({ faults }) => faults !== null && faults.length > 0)
      .map(({ name }) => `upstream ${name} has faults: valetkey doctor --as NAME says which`),
    ...(unconfirmed === 0
      ? []
      : [
          `${unconfirmed} ${unconfirmed === 1 ? "credential" : "credentials"} may still be accepted at an upstream: valetkey grants --unconfirmed --as NAME`,
        ]),
  ];
}
