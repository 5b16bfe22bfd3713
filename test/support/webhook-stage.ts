// Webhooks on a real store, with a clock that stands still until a test moves it. The system's `Date` is moved with it,
// because the library's `verify` reads that.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { BrokerError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import type { ScopeSet, Webhook } from "../../src/scopes/scope-set.ts";
import { openSqliteStore, type SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { WebhookCursor } from "../../src/webhooks/webhook-port.ts";
import { createWebhooks, type Webhooks } from "../../src/webhooks/webhooks.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";
import { SIGNING_SECRET } from "./webhook-receiver.ts";

const ISSUER = "https://valetkey.example";
export const HOUR_MS = 3_600_000;
const START = Date.UTC(2026, 10, 2, 9);

export function webhookTo(url: string, changes: Partial<Webhook> = {}): Webhook {
  const events = new Set(["hold.created", "hold.fired"]);
  return { name: "pager", url, secret: "pager-key", events, addresses: ["127.0.0.1/32"], ...changes };
}

export type Stage = Awaited<ReturnType<typeof openStage>>;

/** Restores the system's `Date` when it is closed. */
export async function openStage(webhooks: readonly Webhook[], { timeoutMs = 5000 } = {}) {
  vi.setSystemTime(START);
  let monotonic = 0;
  const wall = { now: () => Date.now(), monotonic: () => monotonic };
  const clock = createGuardedClock(wall);
  const folder = await mkdtemp(join(tmpdir(), "valetkey-webhooks-"));
  const file = join(folder, "broker.db");
  let store: SqliteStore = await openSqliteStore({ file });
  let policy: ScopeSet = withWebhooks(webhooks);
  let secret: string | null = SIGNING_SECRET;
  let running: Webhooks | null = null;
  let reads = 0;
  let opened = 0;
  let failCursors = false;
  const logs: string[] = [];

  const start = (): Webhooks => {
    const current = store;
    const hooks = createWebhooks({
      port: {
        webhookCursors: async () => {
          const cursors = await current.webhookCursors();
          opened += 1;
          return cursors;
        },
        moveCursor: async (command) => {
          if (failCursors) throw new Error("the disk is full");
          await current.moveCursor(command);
        },
      },
      record: {
        append: (command) => current.append(command),
        head: () => current.head(),
        read: (after, limit) => {
          reads += 1;
          return current.read(after, limit);
        },
      },
      secrets: {
        open: async (name, origin) => {
          if (secret === null) throw new BrokerError("secret_unavailable", `${name} for ${origin} is not there`);
          return new Secret(Buffer.from(secret));
        },
      },
      clock,
      wall,
      policy: () => policy,
      issuer: ISSUER,
      timeoutMs,
      log: (level, message) => logs.push(`${level} ${message}`),
    });
    hooks.start();
    running = hooks;
    return hooks;
  };
  const stop = async (): Promise<void> => {
    await running?.close();
    running = null;
  };

  return {
    logs,
    stop,
    start,
    poke: () => running?.poke(),
    /** Pages of the record that were read. */
    reads: () => reads,
    /** Receivers whose place was looked up. */
    opened: () => opened,
    now: () => clock.at(),
    setSecret: (value: string | null) => (secret = value),
    setWebhooks: (next: readonly Webhook[]) => (policy = withWebhooks(next)),
    failCursors: (fail: boolean) => (failCursors = fail),
    /** Moves time and has it looked at. */
    advance: (ms: number) => {
      monotonic += ms;
      vi.setSystemTime(Date.now() + ms);
      running?.poke();
    },
    /** Puts an entry on record; answers with its number. */
    record: async (type: string, fields: Readonly<Record<string, unknown>> = {}): Promise<number> => {
      const events = [{ random: drawRandomPart(), fields: { type, ...fields } }];
      const done = await store.append({ at: clock.at(), proof: null, events });
      running?.poke();
      return done.outcome === "appended" ? done.head.seq : -1;
    },
    entries: async (): Promise<readonly Readonly<Record<string, unknown>>[]> =>
      // The store's own entries are objects.
      (await store.read(0, 1000)).map((text) => JSON.parse(text) as Readonly<Record<string, unknown>>),
    cursor: async (name = "pager"): Promise<WebhookCursor | undefined> =>
      (await store.webhookCursors()).find((cursor) => cursor.name === name),
    restart: async (): Promise<void> => {
      await stop();
      await store.close();
      store = await openSqliteStore({ file });
      start();
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await stop();
      await store.close();
      await rm(folder, { recursive: true });
      vi.useRealTimers();
    },
  };
}

function withWebhooks(webhooks: readonly Webhook[]): ScopeSet {
  const scopes = makeScopeSet({});
  return { ...scopes, settings: { ...scopes.settings, webhooks } };
}
