// The whole story through the built command, as `npm run demo` runs it.

import { readdir } from "node:fs/promises";
import { expect, it } from "vitest";
import { makeFolder, runMain } from "./cli-run.ts";

it(
  "tells the story in under 10 seconds, every step as told, and leaves nothing behind",
  { timeout: 30_000 },
  async () => {
    const cwd = await makeFolder();
    const ran = await runMain(["demo"], { cwd, env: { TMPDIR: cwd } });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout.match(/✓/g)).toHaveLength(11);
    expect(ran.stdout).not.toContain("✗");
    expect(Number(/as told, in ([\d.]+) s/.exec(ran.stdout)?.[1])).toBeLessThan(10);
    expect(ran.stdout.split("\n").length).toBeLessThanOrEqual(40);
    expect(await readdir(cwd)).toEqual([]);
  },
);
