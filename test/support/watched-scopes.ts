// A scopes folder that is watched, for tests: real files and real events, and a time that only the test moves.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { type ScopesChange, type ScopesWatch, watchScopes } from "../../src/scopes/watch.ts";
import { loadHere } from "./load-here.ts";
import { baseFiles } from "./scopes-text.ts";

export const SETTLE_MS = 2000;
export const POLL_MS = 30_000;

export interface WatchedFolder {
  /** Where the folder lies, and nothing else but what the test puts there. */
  readonly root: string;
  readonly folder: string;
  remove(): void;
}

/** The working set, in a folder of its own; `inside` puts that folder deeper below the root. */
export function makeWatchedFolder(inside = ""): WatchedFolder {
  const root = mkdtempSync(join(tmpdir(), "watch-"));
  const folder = join(root, inside, "scopes");
  writeBase(folder);
  return { root, folder, remove: () => rmSync(root, { recursive: true, force: true }) };
}

export function writeBase(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const { path, text } of baseFiles()) writeFileSync(join(folder, path.replace("scopes/", "")), text);
}

export const environment = (name: string) => `kind: Environment\nname: ${name}\n`;

/** Waits that end when the test says so, or when they are aborted. */
function createTime() {
  let pending: { milliseconds: number; end: () => void } | null = null;
  const wait = (milliseconds: number, signal: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => {
      pending = null;
      resolve();
    };
    pending = { milliseconds, end };
    signal.addEventListener("abort", end, { once: true });
    return promise;
  };
  /** Until a wait of this length is pending. */
  const reach = (milliseconds: number) =>
    vi.waitFor(() => expect(pending?.milliseconds).toBe(milliseconds), { timeout: 10_000, interval: 5 });
  /** Lets that wait end. */
  const pass = async (milliseconds: number): Promise<void> => {
    await reach(milliseconds);
    pending?.end();
  };
  /** For a test that is not about settling: only polls are waited for. */
  const waitForPolls = (milliseconds: number, signal: AbortSignal): Promise<void> =>
    milliseconds === SETTLE_MS ? Promise.resolve() : wait(milliseconds, signal);
  return { wait, waitForPolls, reach, pass };
}

export interface Watched {
  readonly time: ReturnType<typeof createTime>;
  readonly changes: readonly ScopesChange[];
  readonly failures: readonly unknown[];
  readonly watch: ScopesWatch;
}

/** Comes back while it waits for the next poll, which only the test can let come. */
export async function startWatch(
  folder: string,
  {
    onChange = () => undefined,
    settlesAtOnce = false,
  }: {
    readonly onChange?: ((change: ScopesChange) => void | Promise<void>) | undefined;
    readonly settlesAtOnce?: boolean;
  } = {},
): Promise<Watched> {
  const loaded = await loadHere(folder);
  if ("problems" in loaded) throw new Error("expected a set");
  const time = createTime();
  const changes: ScopesChange[] = [];
  const failures: unknown[] = [];
  const watch = watchScopes({
    folder,
    load: loadHere,
    digest: loaded.set.digest,
    onChange: async (change) => {
      await onChange(change);
      changes.push(change);
    },
    onFailure: (error) => failures.push(error),
    settleMs: SETTLE_MS,
    pollMs: POLL_MS,
    wait: settlesAtOnce ? time.waitForPolls : time.wait,
  });
  if (!settlesAtOnce) await time.pass(SETTLE_MS);
  await time.reach(POLL_MS);
  return { time, changes, failures, watch };
}
