// What a running broker is to whoever starts one, and what it is started with. `compose.ts` makes it.

import type { Clock } from "./core/clock.ts";
import type { Log } from "./http/problem.ts";
import type { LoadResult, loadScopes } from "./scopes/load.ts";
import type { ScopeSet } from "./scopes/scope-set.ts";
import type { ReloadOutcome } from "./scopes/watch.ts";

export interface Broker {
  readonly url: string;
  readonly policy: ScopeSet;
  /** Reads `scopes/` again, as on SIGHUP. */
  reload(): Promise<ReloadOutcome>;
  /** Answers what is under way, then closes everything; a second call waits for the first. */
  close(): Promise<void>;
}

export interface BrokerOptions {
  readonly log: Log;
  /** Instead of the machine's, and of the store's. */
  readonly clock?: Clock;
  /** The scopes folder, where its loading has begun already. */
  readonly loading?: Promise<LoadResult>;
  /** How a folder is loaded; in a thread of its own unless said otherwise. */
  readonly load?: typeof loadScopes;
}
