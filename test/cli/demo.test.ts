// The whole story through the built command, as `npm run demo` runs it, and that it cannot pass where it did not happen.

import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createStory, type Reached } from "../../src/cli/demo-story.ts";
import { runProgram } from "../../src/cli/program.ts";
import { startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { systemClock } from "../../src/core/clock.ts";
import { makeFolder, runMain } from "./cli-run.ts";

interface Told {
  readonly ok: boolean;
  readonly steps: readonly {
    readonly chapter: string;
    readonly asked: string;
    readonly asTold: boolean;
    readonly came: string;
    readonly labels?: string;
    readonly reached: Reached;
  }[];
}

// What --json prints is documented as this.
const parseTold = (text: string): Told => JSON.parse(text) as Told;

describe("the demo", () => {
  it(
    "tells the story in under 10 seconds, every step as told, and leaves nothing behind",
    {
      timeout: 60_000,
    },
    async () => {
      const cwd = await makeFolder();
      const ran = await runMain(["demo"], { cwd, env: { TMPDIR: cwd } });
      expect(ran).toMatchObject({ code: 0, stderr: "" });
      expect(ran.stdout.match(/✓/g)).toHaveLength(36);
      expect(ran.stdout).not.toContain("✗");
      expect(Number(/as told, in ([\d.]+) s/.exec(ran.stdout)?.[1])).toBeLessThan(10);
      expect(ran.stdout.split("\n").length).toBeLessThanOrEqual(80);
      expect(await readdir(cwd)).toEqual([]);
    },
  );

  it("lets one call reach the provider, the granted one, and has all others refused", { timeout: 60_000 }, async () => {
    const cwd = await makeFolder();
    const ran = await runMain(["demo", "--json"], { cwd, env: { TMPDIR: cwd } });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    const { ok, steps } = parseTold(ran.stdout);
    expect(ok).toBe(true);
    expect(steps.filter(({ reached }) => reached.calls > 0).map(({ asked, reached }) => [asked, reached])).toEqual([
      ["call customDomainCreate through the gateway", { calls: 1, lookUps: 0 }],
    ]);

    const of = (number: number) => steps.filter(({ chapter }) => chapter.startsWith(`${number}. `));
    const labels = "agent staging, resource production";
    const refused = { came: "refused, environment_mismatch", labels, reached: { calls: 0, lookUps: 1 } };
    expect(of(2)[0]).toMatchObject(refused);
    expect(of(3)).toMatchObject([refused]);
    const tricks = of(4).slice(0, -1);
    expect(tricks).toHaveLength(19);
    expect(tricks.filter(({ came }) => !came.startsWith("refused, "))).toEqual([]);
    // Only what means the volume is looked up, and each time anew.
    for (const { came, reached } of tricks) {
      expect([came, reached.lookUps]).toEqual([came, came === "refused, environment_mismatch" ? 1 : 0]);
    }
    expect(steps.map(({ chapter }) => chapter[0]).join("")).toMatch(/^1+2+34+5+6+7+$/);
  });

  it("exits 1 where the broker does not do what the story tells", { timeout: 60_000 }, async () => {
    const cwd = await makeFolder();
    let stdout = "";
    const code = await runProgram({
      argv: ["demo", "--json"],
      env: {},
      cwd,
      version: "0.0.0",
      nodeVersion: process.versions.node,
      stdin: Readable.from([]),
      stdout: { write: (text) => (stdout += text) },
      stderr: { write: () => undefined },
      clock: systemClock,
      readSettings: async (env, folder) => readServerConfig(env, folder),
      openBroker: async (env, folder) => {
        // No grant ends by itself: then a call is let through that is told to be refused.
        const settings = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
        await writeFile(join(folder, "scopes/settings.yaml"), settings);
        const config = readServerConfig(env, folder);
        const broker = await startBroker(config, { log: () => undefined });
        return {
          url: broker.url,
          settings: config,
          policy: broker.policy,
          close: () => broker.close(),
          reload: () => broker.reload(),
        };
      },
      onSignal: () => undefined,
      exit: () => undefined,
    });
    expect(code).toBe(1);
    const { ok, steps } = parseTold(stdout);
    expect(ok).toBe(false);
    expect(new Set(steps.filter(({ asTold }) => !asTold).map(({ asked }) => asked))).toEqual(
      new Set([
        "the call that it was granted",
        "compare what the provider holds with before, and look for the root key again",
      ]),
    );
  });
});

describe("a step of a story", () => {
  const reached = { calls: 0, lookUps: 0 };
  const clock = { now: () => 0, monotonic: () => 0 };

  it.each([
    ["that lets a call through that was not told of", async () => void reached.calls++],
    ["that throws", () => Promise.reject(new Error("broken"))],
  ])("%s is not as told, and the story goes on", async (_, work) => {
    const story = createStory(null, clock, () => ({ ...reached }));
    const good = { asTold: true, came: "good" };
    await story.step("one", async () => {
      await work();
      return good;
    });
    await story.step("two", async () => good);
    expect(story.steps.map(({ asTold }) => asTold)).toEqual([false, true]);
  });

  it("is not as told where a call that was told of did not arrive", async () => {
    const story = createStory(null, clock, () => reached);
    await story.step("one", async () => ({ asTold: true, came: "good" }), { calls: 1 });
    expect(story.steps.map(({ asTold }) => asTold)).toEqual([false]);
  });
});
