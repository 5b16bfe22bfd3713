// The engine's Lua scripts, one file each, and the one way to run them. A script that may have been run is sent again
// with the same operation id, so that it is done once and gives the same answer; nothing else is ever sent again.

import { readdirSync, readFileSync } from "node:fs";
import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import { drawRandomPart } from "../../core/ids.ts";
import type { Client } from "./client.ts";
import type { Replication } from "./replication.ts";
import { isLost } from "./failure.ts";
import { createSeen, type Seen } from "./seen.ts";

export type { Client } from "./client.ts";
/** The outcome first; what follows depends on the script. */
export type Reply = readonly string[];

export interface Scripts {
  /**
   * Runs it. `command` is what the script reads: its fields are left out where they are null.
   * Throws `store_unavailable` where nobody knows whether it was done, and `store_went_back` where it would give something
   * in a store that has lost some of its past.
   */
  run(name: string, command: object): Promise<Reply>;
}

const FOLDER = new URL("./lua/", import.meta.url);
const PRELUDE = "prelude.lua";
/** Of an operation whose answer did not come: the second try comes after the connection is there again. */
const MAX_TRIES = 2;

/** Of what changes nothing, or nothing that anybody was told. */
const UNCONFIRMED = new Set(["look", "gone", "present", "leave", "take_duty", "prune", "seal", "open", "agree"]);

interface Sender {
  /** Of this process: what it has under way is known by it. */
  readonly broker: string;
  /** A clock to take instead of the server's. */
  readonly now: (() => Instant) | null;
  /** Where replicas must have what was written before it is told. */
  readonly replication?: Replication | null;
  /** The furthest that this broker was told of the store. */
  readonly seen?: Seen;
}

/** `base` begins every key, and has the hash tag. */
export function createScripts(
  client: Client,
  base: string,
  { broker, now, replication = null, seen = createSeen(client) }: Sender = { broker: drawRandomPart(), now: null },
): Scripts {
  const acts = new Map(
    Array.from(readScripts(), ([name, lua]) => [name, client.defineScript(`valetkey_${name}`, lua)]),
  );
  const run: Scripts["run"] = async (name, command) => {
    const act = acts.get(name);
    if (act === undefined) throw new BrokerError("internal", `there is no script ${name}`);
    const sent = { op: drawRandomPart(), broker, now: now?.() ?? null, ...command };
    for (let tries = 1; ; tries++) {
      try {
        const mark = replication?.mark() ?? 0;
        // Anew each time: a second try may reach another server.
        const told = seen.begin();
        const reply = told.answered(await act(base, toText(name, { ...sent, seen: told.mark })));
        if (replication === null || UNCONFIRMED.has(name)) return reply;
        // What was done already is not written again: whatever comes after it in the log stands for it.
        if (tries > 1) await run("present", {});
        await replication.confirm(mark);
        return reply;
      } catch (cause) {
        if (tries >= MAX_TRIES || !isLost(cause)) throw cause;
        await client.comesBack(base);
      }
    }
  };
  return { run };
}

function toText(name: string, command: object): string {
  return JSON.stringify(command, (field, value: unknown) => {
    // It would be sent as null, which stands for a field that is left out.
    if (typeof value === "number" && !Number.isFinite(value))
      throw new BrokerError("internal", `expected a number in ${field} of script ${name}, found ${value}`);
    return value ?? undefined;
  });
}

function readScripts(): ReadonlyMap<string, string> {
  const prelude = readFileSync(new URL(PRELUDE, FOLDER), "utf8");
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".lua") && file !== PRELUDE);
  return new Map(files.map((file) => [file.slice(0, -4), prelude + readFileSync(new URL(file, FOLDER), "utf8")]));
}
