// Would this server lose what it has acknowledged? Asked at each start and by `doctor`. What cannot be read is taken for
// unsafe: a broker that answers "granted" or "revoked" must find it again.

import type { Redis } from "ioredis";

export interface DurabilityFinding {
  /** The setting, as Redis names it. */
  readonly setting: string;
  /** What is so, and what to do. */
  readonly message: string;
}

/** Empty: nothing that is answered can be lost by this server alone, or evicted. */
export async function findLosses(client: Pick<Redis, "info" | "config">): Promise<readonly DurabilityFinding[]> {
  const [persistence, memory, replication] = await Promise.all(
    ["persistence", "memory", "replication"].map(async (section) => parseInfo(await client.info(section))),
  );
  const settings = await readSettings(client);
  const findings: DurabilityFinding[] = [];
  const lose = (setting: string, message: string): void => void findings.push({ setting, message });

  if (persistence?.get("aof_enabled") !== "1")
    lose("appendonly", "the server keeps no log of its writes, so a restart loses them: set appendonly yes");
  else if (persistence.get("aof_last_write_status") !== "ok")
    lose("appendonly", "the server's last write to its log failed: look at its disk");
  const fsync = settings.get("appendfsync");
  if (fsync !== "always") {
    const found = fsync === undefined ? "cannot be read" : `is ${fsync}`;
    lose("appendfsync", `appendfsync ${found}: what was answered in the last second can be lost; set it to always`);
  }
  const policy = memory?.get("maxmemory_policy");
  // Without a limit nothing is evicted, but the limit may be set at any time.
  if (policy !== "noeviction")
    lose("maxmemory-policy", `maxmemory-policy is ${policy ?? "unknown"}: records could be evicted; set noeviction`);
  if (replication?.get("role") !== "master")
    lose("role", `the server is a ${replication?.get("role") ?? "server of no known role"}: name its primary`);
  return findings;
}

/** Replicas that are there and acknowledge. */
export async function countReplicas(client: Pick<Redis, "info">): Promise<number> {
  return Number(parseInfo(await client.info("replication")).get("connected_slaves") ?? 0);
}

/** `CONFIG` may be forbidden to this user: then nothing is known of it. */
async function readSettings(client: Pick<Redis, "config">): Promise<ReadonlyMap<string, string>> {
  try {
    // Name and value in turn.
    const pairs = (await client.config("GET", "appendfsync")) as readonly string[];
    return new Map([[String(pairs[0]), String(pairs[1])]]);
  } catch {
    return new Map();
  }
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split("\r\n").filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}
