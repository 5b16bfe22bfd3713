// Opens the Redis engine for the suites of grants and calls, on the server of `useRedisParts`; also with every command of
// theirs sent twice.

import { expect } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { createCallPort } from "../../src/store/redis/calls.ts";
import { createGrantReads } from "../../src/store/redis/grant-reads.ts";
import { createGrantPort } from "../../src/store/redis/grants.ts";
import { createHeldPort } from "../../src/store/redis/held.ts";
import { createHoldReads } from "../../src/store/redis/hold-reads.ts";
import { createRevocationPort } from "../../src/store/redis/revocations.ts";
import type { Scripts } from "../../src/store/redis/scripts.ts";
import type { Opened } from "./drafts.ts";
import { openRedisParts, type Parts, withTwoBrokers as withTwoParts } from "./redis-parts.ts";

export type Granting = ReturnType<typeof addGrants>;

const DONE = new Set(["issued", "simulated", "renewed", "released", "already_ended", "begun", "ended"]);

/** As after a connection that went while the answer was awaited. */
function sentTwice(scripts: Scripts): Scripts {
  return {
    run: async (name, command) => {
      const operation = { op: drawRandomPart(), ...command };
      const [first, second] = await Promise.all([scripts.run(name, operation), scripts.run(name, operation)]);
      // What was refused has changed nothing, and is told by how things stand then.
      if (DONE.has(first[0] ?? "")) expect(second, name).toEqual(first);
      return first;
    },
  };
}

function addGrants(parts: Parts, times: (scripts: Scripts) => Scripts = (scripts) => scripts) {
  const { client, base, view } = parts;
  const scripts = times(parts.scripts);
  const { countMetGrants, liveShapes, ...reads } = createGrantReads(client, parts.scripts, base, view);
  const { countCancelledHolds } = createHoldReads(client, scripts, base, view);
  return {
    ...parts,
    ...createRevocationPort(client, parts.scripts, base, view, { countMetGrants, liveShapes, countCancelledHolds }),
    ...createGrantPort(scripts, reads),
    ...createCallPort(client, scripts, base),
    ...createHeldPort(scripts),
  };
}

export const openWith = (times?: (scripts: Scripts) => Scripts) => async (): Promise<Opened<Granting>> => {
  const opened = await openRedisParts();
  return {
    port: addGrants(opened.port, times),
    reopen: async () => addGrants(await opened.reopen(), times),
    close: () => opened.close(),
  };
};

export const openRedisGrants = openWith();
export const openSentTwice = openWith(sentTwice);

/** Runs with two brokers of one store. */
export async function withTwoBrokers(act: (one: Granting, other: Granting) => Promise<void>): Promise<void> {
  await withTwoParts((one, other) => act(addGrants(one), addGrants(other)));
}
