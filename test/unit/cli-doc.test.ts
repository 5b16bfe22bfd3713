// docs/cli.md and docs/holds.md against the commands there are, the exit codes and the states of a hold.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { HOLD_STATES } from "../../src/api/holds.ts";
import { createCommands } from "../../src/cli/commands.ts";
import { createContext } from "../../src/cli/context.ts";
import { EXIT } from "../../src/cli/failure.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { systemClock } from "../../src/core/clock.ts";

const read = (name: string): string => readFileSync(join(import.meta.dirname, "../../docs", name), "utf8");
const cli = read("cli.md");
const out = { write: () => undefined };
const never = () => Promise.reject(new Error("nothing is run here"));
const surroundings = {
  argv: [],
  env: {},
  cwd: "/",
  version: "0.0.0",
  nodeVersion: "24.0.0",
  stdin: new PassThrough(),
  stdout: out,
  stderr: out,
  clock: systemClock,
  readSettings: never,
  examineStore: never,
  openBroker: never,
  maintenance: never,
  onSignal: () => undefined,
  exit: () => undefined,
};

describe("docs/cli.md", () => {
  it("has a row for every command, and for no other", async () => {
    const program = await createCommands(createContext(surroundings, createTerminal(out, out, {})));
    const rows = [...cli.matchAll(/^\| (`.*?) \|/gm)]
      .map(([, cell = ""]) => cell)
      .filter((cell) => !cell.startsWith("`--"));
    const named = rows.flatMap((cell) =>
      [...cell.matchAll(/`([a-z-]+)|, `?([a-z-]+) /g)].map(([, one, two]) => one ?? two ?? ""),
    );
    expect([...new Set(named)].toSorted()).toEqual(program.commands.map((command) => command.name()).toSorted());
  });

  it("has the exit codes", () => {
    const [, table = ""] = cli.split("## Exit codes");
    expect([...table.matchAll(/^\| (\d) \|/gm)].map(([, code]) => Number(code))).toEqual(Object.values(EXIT));
  });
});

describe("docs/holds.md", () => {
  it("has every state of a hold, and no other", () => {
    const [, rest = ""] = read("holds.md").split("## States");
    const [table = ""] = rest.split("\n## ");
    expect([...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, state]) => state)).toEqual(HOLD_STATES);
  });
});
