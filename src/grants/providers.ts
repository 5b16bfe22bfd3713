// Credentials that other systems accept, for the whole broker: made for grants, ended with them, and what is known of where
// they are. One value, so that whoever gives a grant, ends one or asks how things stand needs nothing else.

import { setTimeout as sleep } from "node:timers/promises";
import type { Unconfirmed, UpstreamsAnswer } from "../api/upstreams.ts";
import type { Credential } from "../api/grants.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { type Clock, toTimestamp } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { GrantId } from "../core/ids.ts";
import type { CredentialPort, StoredCredential } from "../credentials/credential-port.ts";
import { createSystems } from "../credentials/systems.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import { createCredentialEnder } from "./end-credentials.ts";
import type { GrantPort } from "./grant-port.ts";
import { type CredentialOrder, handlePrefix, makeCredential, overBy } from "./provider-credentials.ts";

export interface Providers {
  make(order: CredentialOrder): Promise<Credential>;
  /** A cut-off is in force. */
  sweep(): void;
  /** The grant was released. */
  look(grant: GrantId): void;
  /** Another policy is in force. */
  adopt(): void;
  status(): UpstreamsAnswer;
  /** The same, after a look at each; what does not answer in time stands as it was seen last. */
  examine(): Promise<UpstreamsAnswer>;
  /** A page of those that had to be dead and are not known to be. */
  listUnconfirmed(after: GrantId | null): Promise<Unconfirmed>;
  close(): Promise<void>;
}

interface Dependencies {
  readonly issuer: string;
  readonly port: CredentialPort & Pick<GrantPort, "find">;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly secrets: Pick<RootSecrets, "open">;
  /** False: another broker ends what is due, for all that share the store. */
  readonly isOurs: () => Promise<boolean>;
  /** No other broker has the store. */
  readonly isAlone: boolean;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

const PAGE = 100;
/** Less than a client waits for an answer. */
const EXAMINE_MS = 5000;
/** Rows looked at for one page of an answer. */
const MAX_LOOKED_AT = 1000;

export function createProviders(dependencies: Dependencies): Providers {
  const { issuer, port, clock, wall, policy, secrets } = dependencies;
  const systems = createSystems({
    openSecret: (reference, origin) => secrets.open(reference, origin),
    clock: wall,
    prefixOf: (upstream) => handlePrefix(issuer, upstream),
  });
  const ender = createCredentialEnder({ ...dependencies, systems });
  const status = (): UpstreamsAnswer => ({
    upstreams: systems
      .status(policy())
      .map((each) => ({ ...each, notes: [...each.notes], faults: listOf(each.faults) })),
    unconfirmed: ender.unconfirmed(),
  });
  const making = { ...dependencies, systems, onEnding: () => ender.sweep() };

  return {
    make: (order) => makeCredential(making, order),
    sweep: () => ender.sweep(),
    look: (grant) => ender.look(grant),
    adopt: () => ender.adopt(),
    status,
    examine: async () => {
      await Promise.race([ender.examine(), sleep(EXAMINE_MS, undefined, { ref: false })]);
      return status();
    },
    listUnconfirmed: async (after) => {
      const found: Unconfirmed["credentials"] = [];
      let last = after;
      for (let looked = 0; looked < MAX_LOOKED_AT && found.length < PAGE; looked += PAGE) {
        const rows: readonly StoredCredential[] = await port.listCredentials(last, PAGE);
        for (const row of rows) {
          const cause = overBy(await port.find(row.grant), clock.at());
          if (isUnconfirmed(row, cause, clock.at())) found.push(describe(row, cause));
        }
        last = rows.at(-1)?.grant ?? last;
        if (rows.length < PAGE) return { credentials: found, next: null };
      }
      return { credentials: found, next: last };
    },
    close: async () => {
      await ender.close();
      await systems.close();
    },
  };
}

function isUnconfirmed(row: StoredCredential, cause: string | null, at: number): boolean {
  switch (row.state) {
    case "ending":
      return true;
    case "live":
      return cause !== null;
    case "making":
      return cause !== null || row.dueAt <= at;
    case "dead":
      return false;
  }
}

function describe(row: StoredCredential, cause: string | null): Unconfirmed["credentials"][number] {
  const { grant, agent, task, role, upstream, kind, handle, address, endingSince, attempts, failure, dueAt } = row;
  const since = endingSince === null ? null : toTimestamp(endingSince);
  const tries = { attempts, failure, nextTryAt: toTimestamp(dueAt) };
  return { grant, agent, task, role, upstream, kind, handle, address, cause, since, ...tries };
}

function listOf(texts: readonly string[] | null): string[] | null {
  return texts === null ? null : [...texts];
}
