// One step of the engine that can be counted, for tests of what stands between it and the server; and what a failure shows.

import { inspect } from "node:util";
import { expect } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { createScripts, type Scripts } from "../../src/store/redis/scripts.ts";
import type { Client } from "../../src/store/redis/client.ts";
import { withServer } from "./redis-group.ts";

export const BASE = "{valetkey}:";

export interface Steps {
  /** Writes one entry into the record; answers how many there are then. */
  step(): Promise<number>;
  readonly scripts: Scripts;
}

export function stepsOf(client: Client, base: string = BASE): Steps {
  const scripts = createScripts(client, base);
  const step = async (): Promise<number> => {
    const events = [{ random: drawRandomPart(), fields: "{}" }];
    const [outcome, , seq] = await scripts.run("append", { at: 1, proof: null, events });
    expect(outcome).toBe("appended");
    return Number(seq);
  };
  return { step, scripts };
}

/** How many there are, by the server itself. */
export const countSteps = (server: { readonly port: number }, password?: string): Promise<number> =>
  withServer(server, async (redis) => Number((await redis.hget(`${BASE}meta`, "seq")) ?? 0), password);

/** What it fails with, which is `store_unavailable` and says nothing of what was sent. */
export async function failureOf(work: Promise<unknown>, secret: string = "no password"): Promise<string> {
  const error: unknown = await work.then(
    () => new Error("expected a failure"),
    (cause: unknown) => cause,
  );
  expect(error).toMatchObject({ code: "store_unavailable" });
  // As the line before says.
  const { message, stack = "" } = error as Error;
  for (const text of [message, stack, JSON.stringify(error), inspect(error, { depth: 9, showHidden: true })]) {
    expect(text).not.toContain(secret);
    expect(text).not.toMatch(/EVALSHA|"op":|local base/i);
  }
  return message;
}
