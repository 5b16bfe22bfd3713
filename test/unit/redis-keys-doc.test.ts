// docs/redis-keys.md against the scripts: every key that they name is described, and nothing that is not there.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const LUA = join(ROOT, "src/store/redis/lua");
const scripts = readdirSync(LUA).map((file) => readFileSync(join(LUA, file), "utf8"));
const document = readFileSync(join(ROOT, "docs/redis-keys.md"), "utf8");

/** Names without what is in angle brackets: `grant:` of `grant:<id>`. */
const described = new Set(
  document
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`([^`<]+)[^`]*`/g)].map(([, name]) => name)),
);
const named = new Set(scripts.flatMap((text) => [...text.matchAll(/key\('([a-z_:]+)'/g)].map(([, name]) => name)));

it("describes every key that a script names", () => {
  expect(named.size).toBeGreaterThan(40);
  expect([...named].filter((name) => !described.has(name))).toEqual([]);
});

it("describes no key that no script knows", () => {
  const all = scripts.join("\n");
  expect([...described].filter((name) => !all.includes(`'${name ?? ""}`) && !named.has(name))).toEqual([]);
});
