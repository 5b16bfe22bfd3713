// A whole Redis store as rows: read beside its brokers, or filled while it answers to nobody else. What was filled half is
// never opened by a broker: its mark stays until all of it is there.

import { BrokerError } from "../../core/errors.ts";
import { drawRandomPart } from "../../core/ids.ts";
import { type DumpedStore, inBatches, type LoadedStore } from "../dump.ts";
import { dumpRedis } from "./dump.ts";
import { findLosses, refuseLosses } from "./durability.ts";
import { LAYOUT, openLayout } from "./layout.ts";
import { toLoad } from "./load-rows.ts";
import { GONE_AFTER_SECONDS } from "./presence.ts";
import { BASE, connectTo, type RedisLocation } from "./redis-store.ts";
import { unknownReply } from "./replies.ts";
import { createScripts, type Scripts } from "./scripts.ts";

/** Of one script: some milliseconds of the server. */
const BATCH = { count: 200, characters: 500_000 } as const;

interface Location extends RedisLocation {
  /** Begins every key. */
  readonly base?: string;
}

export async function readRedis({ base = BASE, ...location }: Location): Promise<DumpedStore> {
  const client = await connectTo(location, base);
  try {
    const scripts = createScripts(client, base);
    if ((await client.hget(`${base}meta`, "seq")) === null)
      throw new BrokerError("store_unavailable", "the store is empty: no broker has ever used it");
    await openLayout(scripts);
    return { rows: (options) => dumpRedis(client, scripts, base, options), close: () => client.quit() };
  } catch (error) {
    await client.quit();
    throw error;
  }
}

/**
 * Begins to fill a store. `force`: what an earlier run has left is removed. Throws `conflict` where there is anything else,
 * or a broker runs on it.
 */
export async function fillRedis(location: Location, { force }: { readonly force: boolean }): Promise<LoadedStore> {
  const { base = BASE, ...where } = location;
  const client = await connectTo(where, base);
  const load = drawRandomPart();
  const plain = createScripts(client, base);
  const scripts: Scripts = { run: (name, command) => plain.run(name, { load, ...command }) };
  let isPublished = false;
  const close = async (): Promise<void> => {
    try {
      if (!isPublished) await giveUp(scripts);
    } finally {
      await client.quit();
    }
  };
  try {
    // What is moved here, and closed where it was, must not be lost.
    refuseLosses(await findLosses(client, location.replicas), location.acceptedLosses);
    await begin(scripts, force);
  } catch (error) {
    await client.quit();
    throw error;
  }
  try {
    await wipe(scripts);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
  return {
    rows: (options) => dumpRedis(client, scripts, base, options),
    load: async (rows) => {
      for await (const batch of inBatches(rows, BATCH)) {
        expectReply(await scripts.run("load", { rows: batch.map(toLoad) }), "loaded");
      }
    },
    publish: async () => {
      expectReply(await scripts.run("end_load", {}), "ended");
      isPublished = true;
    },
    close,
  };
}

async function begin(scripts: Scripts, force: boolean): Promise<void> {
  const reply = await scripts.run("begin_load", { force, layout: LAYOUT, seconds: GONE_AFTER_SECONDS });
  switch (reply[0]) {
    case "begun":
      return;
    case "running":
      throw new BrokerError(
        "conflict",
        `a broker runs on this store, or ran there in the last ${GONE_AFTER_SECONDS} seconds: stop it, and wait for so long`,
      );
    case "left":
      throw new BrokerError(
        "conflict",
        "a run that did not end has left a part here: run this again with --force, which removes it",
      );
    case "used":
      throw new BrokerError("conflict", "the store is not empty: name another database or server");
    default:
      throw unknownReply(reply);
  }
}

async function wipe(scripts: Scripts): Promise<void> {
  for (let cursor = "0"; ;) {
    const reply = await scripts.run("wipe", { cursor });
    if (reply[0] !== "wiped") throw unknownReply(reply);
    cursor = reply[1] ?? "0";
    if (cursor === "0") return;
  }
}

/** Nothing of it is of use to anybody. */
async function giveUp(scripts: Scripts): Promise<void> {
  await wipe(scripts);
  expectReply(await scripts.run("end_load", {}), "ended");
}

function expectReply(reply: readonly string[], outcome: string): void {
  if (reply[0] === outcome) return;
  if (reply[0] !== "other") throw unknownReply(reply);
  throw new BrokerError("conflict", "another run has begun to fill this store: only one may");
}
