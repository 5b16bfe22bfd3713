// Where redis-server is on this machine.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { findOrInstall } from "./installed-program.ts";

const NAME = "redis-server";

function find(): string | null {
  const named = process.env["TEST_REDIS_SERVER"];
  if (named !== undefined && named !== "") return named;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"];
  return folders.map((folder) => join(folder, NAME)).find((path) => existsSync(path)) ?? null;
}

const found = findOrInstall({ name: NAME, packages: [NAME], variable: "TEST_REDIS_SERVER", find });

/** False where this machine has none; with CI=true that is an error. */
export const hasRedis = found !== null;
export const redisProgram = found ?? NAME;
