// The engine's Lua scripts, one file each, and the one way to run them. A script that may have been run is sent again
// with the same operation id, so that it is done once and gives the same answer; nothing else is ever sent again.

import { readdirSync, readFileSync } from "node:fs";
import type { Cluster, Redis } from "ioredis";
import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import { drawRandomPart } from "../../core/ids.ts";

export type Client = Redis | Cluster;
/** The outcome first; what follows depends on the script. */
export type Reply = readonly string[];

export interface Scripts {
  /**
   * Runs it. `command` is what the script reads: its fields are left out where they are null.
   * Throws `store_unavailable` where nobody knows whether it was done.
   */
  run(name: string, command: object): Promise<Reply>;
}

const FOLDER = new URL("./lua/", import.meta.url);
const PRELUDE = "prelude.lua";
/** Of an operation whose answer did not come: the second try comes after the connection is there again. */
const MAX_TRIES = 2;

interface Sender {
  /** Of this process: what it has under way is known by it. */
  readonly broker: string;
  /** A clock to take instead of the server's. */
  readonly now: (() => Instant) | null;
}

/** `base` begins every key, and has the hash tag. */
export function createScripts(
  client: Client,
  base: string,
  { broker, now }: Sender = { broker: drawRandomPart(), now: null },
): Scripts {
  const texts = readScripts();
  for (const [name, lua] of texts) client.defineCommand(commandOf(name), { numberOfKeys: 1, lua });
  // What `defineCommand` adds has no type.
  const commands = client as unknown as Record<string, (key: string, command: string) => Promise<Reply>>;
  return {
    run: async (name, command) => {
      const act = commands[commandOf(name)];
      if (act === undefined) throw new BrokerError("internal", `there is no script ${name}`);
      const text = JSON.stringify(
        { op: drawRandomPart(), broker, now: now?.() ?? null, ...command },
        (_, value: unknown) => value ?? undefined,
      );
      for (let tries = 1; ; tries++) {
        try {
          return await act.call(client, base, text);
        } catch (cause) {
          if (tries >= MAX_TRIES || !isLost(cause)) throw unavailable(cause);
        }
      }
    },
  };
}

function readScripts(): ReadonlyMap<string, string> {
  const prelude = readFileSync(new URL(PRELUDE, FOLDER), "utf8");
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".lua") && file !== PRELUDE);
  return new Map(files.map((file) => [file.slice(0, -4), prelude + readFileSync(new URL(file, FOLDER), "utf8")]));
}

const commandOf = (name: string): string => `valetkey_${name}`;

/** The connection went while the answer was awaited: it may have been done. */
function isLost(cause: unknown): boolean {
  return cause instanceof Error && /Connection is closed|ECONNRESET|EPIPE/.test(cause.message);
}

function unavailable(cause: unknown): BrokerError {
  if (cause instanceof BrokerError) return cause;
  const why = cause instanceof Error ? cause.message : "it failed";
  return new BrokerError("store_unavailable", `the store did not answer: ${why}`, { cause });
}
