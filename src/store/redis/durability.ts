// Would this server lose what it has acknowledged? Asked at each start and by `doctor`. What cannot be read is taken for
// unsafe: a broker that answers "granted" or "revoked" must find it again.

import { type AcceptableLoss, isAcceptableLoss } from "../../core/accepted-losses.ts";
import { BrokerError } from "../../core/errors.ts";
import type { Client } from "./client.ts";

export interface DurabilityFinding {
  /** The setting, as Redis names it. */
  readonly setting: string;
  /** What is so, what can be lost, and what to do. */
  readonly message: string;
}

type Asked = Pick<Client, "info" | "config">;

const LOWEST_VERSION = 7;
const READ = ["appendfsync", "no-appendfsync-on-rewrite"];

/** Empty: nothing that is answered can be lost by this server alone, or evicted. `replicas`: as many must acknowledge. */
export async function findLosses(client: Asked, replicas = 0): Promise<readonly DurabilityFinding[]> {
  const [server, persistence, memory, replication] = await Promise.all(
    ["server", "persistence", "memory", "replication"].map(async (section) => parseInfo(await client.info(section))),
  );
  const settings = await readSettings(client);
  const findings: DurabilityFinding[] = [];
  const lose = (setting: string, message: string): void => void findings.push({ setting, message });

  const version = server?.get("redis_version") ?? "unknown";
  if (!(Number.parseInt(version) >= LOWEST_VERSION))
    lose("version", `the server is Redis ${version}: take ${LOWEST_VERSION} or later`);
  if (replication?.get("role") !== "master")
    lose("role", `the server is a ${replication?.get("role") ?? "server of no known role"}: name its primary`);
  if (persistence?.get("aof_enabled") !== "1")
    lose("appendonly", "the server keeps no log of its writes, so a restart loses all of them: set appendonly yes");
  else if (persistence.get("aof_last_write_status") !== "ok")
    lose("log", "the server's last write to its log failed: look at its disk");
  const fsync = settings.get("appendfsync");
  if (fsync !== "always") {
    const found = fsync === undefined ? "cannot be read" : `is ${fsync}`;
    lose("appendfsync", `appendfsync ${found}: what was answered in the last second can be lost: set it to always`);
  }
  const onRewrite = settings.get("no-appendfsync-on-rewrite");
  if (onRewrite !== "no") {
    const found = onRewrite === undefined ? "cannot be read" : `is ${onRewrite}`;
    lose(
      "no-appendfsync-on-rewrite",
      `no-appendfsync-on-rewrite ${found}: what is answered meanwhile can be lost: set no`,
    );
  }
  const policy = memory?.get("maxmemory_policy");
  // Without a limit nothing is evicted, but the limit may be set at any time.
  if (policy !== "noeviction")
    lose("maxmemory-policy", `maxmemory-policy is ${policy ?? "unknown"}: records could be evicted: set noeviction`);
  const connected = Number(replication?.get("connected_slaves") ?? 0);
  if (connected < replicas)
    lose("replicas", `${replicas} replicas must acknowledge (VALETKEY_REDIS_REPLICAS), and ${connected} are connected`);
  return findings;
}

/** Stops the start, all at once; what was accepted is warned of at every start, and what was accepted for nothing too. */
export function judgeLosses(
  findings: readonly DurabilityFinding[],
  accepted: ReadonlySet<AcceptableLoss>,
): { readonly problems: readonly string[]; readonly warnings: readonly string[] } {
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const { setting, message } of findings) {
    if (!isAcceptableLoss(setting)) problems.push(message);
    else if (accepted.has(setting)) warnings.push(`accepted: ${message}`);
    else problems.push(`${message}; or accept that: VALETKEY_REDIS_ACCEPT_LOSS=${setting}`);
  }
  for (const setting of accepted) {
    if (findings.every((finding) => finding.setting !== setting))
      warnings.push(`VALETKEY_REDIS_ACCEPT_LOSS names ${setting}, which is as it should be: leave it out`);
  }
  return { problems, warnings };
}

/** Throws `store_unavailable` with all that was not accepted; otherwise what is to be warned of. */
export function refuseLosses(
  findings: readonly DurabilityFinding[],
  accepted: ReadonlySet<AcceptableLoss> = new Set(),
): readonly string[] {
  const { problems, warnings } = judgeLosses(findings, accepted);
  if (problems.length === 0) return warnings;
  throw new BrokerError("store_unavailable", `the Redis server may lose what it acknowledges:\n${problems.join("\n")}`);
}

/** `CONFIG` may be forbidden to this user: then nothing is known of it. */
async function readSettings(client: Pick<Asked, "config">): Promise<ReadonlyMap<string, string>> {
  const settings = new Map<string, string>();
  for (const name of READ) {
    try {
      // Name and value in turn.
      const [key, value] = (await client.config("GET", name)) as readonly string[];
      if (key !== undefined && value !== undefined) settings.set(key, value);
    } catch {
      // Left out: taken for unsafe.
    }
  }
  return settings;
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split("\r\n").filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}
