// The whole story through the built command, as `npm run demo` runs it, and that it cannot pass where it did not happen.

import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { createStoryClock } from "../../src/cli/demo-clock.ts";
import { createStory, type Reached } from "../../src/cli/demo-story.ts";
import { runProgram } from "../../src/cli/program.ts";
import { startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { systemClock } from "../../src/core/clock.ts";
import { ROOT } from "../support/generate.ts";
import { newKey } from "../support/scopes-text.ts";
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

const LATER = "48 h later its grant has ended, which ends no request, and the backups have grown too old";

/** What is otherwise than told, by which edit, and the first steps that then are not as told. */
const BROKEN: readonly (readonly [title: string, spoil: Spoil, told: readonly string[]])[] = [
  [
    "no grant ends by itself",
    (scopes) => writeFile(join(scopes, "settings.yaml"), "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n"),
    ["the call that it was granted", "compare what the provider holds with before, and look for the root key again"],
  ],
  [
    "one signature is enough",
    editing("roles.yaml", "count: 2, from: [oncall, dba], perTeam: true", "count: 1, from: [oncall, dba]"),
    ["oncall-1 signs the second; that signature is sent for the first, too", "hour 49: look at both"],
  ],
  [
    "a day is enough",
    editing("roles.yaml", "delay: 48h", "delay: 24h"),
    ["hour 47: backups are attested anew, and security-1 cancels the first", "hour 49: look at both"],
  ],
  ["an old backup is good enough", editing("roles.yaml", "maxAge: 24h", "maxAge: 90d"), [LATER]],
  [
    "somebody else owns the agent",
    editing("agents.yaml", "owner: admin-1", "owner: oncall-1"),
    ["admin-1, who owns coder, signs"],
  ],
];

describe("the demo", () => {
  it(
    "tells the story, every step as told, and leaves nothing behind",
    {
      timeout: 60_000,
    },
    async () => {
      const cwd = await makeFolder();
      const ran = await runMain(["demo"], { cwd, env: { TMPDIR: cwd } });
      expect(ran).toMatchObject({ code: 0, stderr: "" });
      expect(ran.stdout.match(/✓/g)).toHaveLength(53);
      expect(ran.stdout).not.toContain("✗");
      expect(ran.stdout).toMatch(/as told, in [\d.]+ s/);
      expect(ran.stdout.split("\n").length).toBeLessThanOrEqual(115);
      expect(await readdir(cwd)).toEqual([]);
    },
  );

  it(
    "lets two calls reach the provider, the granted one and the one that waited, and has all others refused or held",
    { timeout: 60_000 },
    async () => {
      const cwd = await makeFolder();
      const ran = await runMain(["demo", "--json"], { cwd, env: { TMPDIR: cwd } });
      expect(ran).toMatchObject({ code: 0, stderr: "" });
      const { ok, steps } = parseTold(ran.stdout);
      expect(ok).toBe(true);
      expect(steps.filter(({ reached }) => reached.calls > 0).map(({ asked, reached }) => [asked, reached])).toEqual([
        ["call customDomainCreate through the gateway", { calls: 1, lookUps: 0 }],
        ["backup-1 attests a backup of today, of the first alone", { calls: 1, lookUps: 1 }],
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
      expect(steps.map(({ chapter }) => chapter[0]).join("")).toMatch(/^1+2+34+5+6+7+8+$/);
    },
  );

  it("plays on the policy as it was shipped, whatever became of scopes/", { timeout: 60_000 }, async () => {
    const folder = await makeFolder();
    for (const part of ["dist", "scopes", "package.json"])
      await cp(join(ROOT, part), join(folder, part), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const scopes = join(folder, "scopes");
    await editing("people.yaml", "keys: [{ file: ../.valetkey/keys/dba-1.pub.jwk }]", `keys: [${newKey()}]`)(scopes);
    await editing("roles.yaml", "name: volume-keeper", "name: somebody-else")(scopes);
    const cwd = join(folder, "work");
    await mkdir(cwd);
    const argv = [join(folder, "dist", "main.js"), "demo", "--json"];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, argv, { cwd, env: { TMPDIR: cwd } });
    expect(stderr).toBe("");
    expect(parseTold(stdout)).toMatchObject({ ok: true });
  });

  it.each(BROKEN)("exits 1 where %s", { timeout: 60_000 }, async (_, spoil, told) => {
    const { code, steps } = await playOn(spoil);
    expect(code).toBe(1);
    const failed = new Set(steps.filter(({ asTold }) => !asTold).map(({ asked }) => asked));
    expect([...failed].slice(0, told.length)).toEqual(told);
  });
});

type Spoil = (scopes: string) => Promise<void>;

/** One edit of one file of the demo's policy. */
function editing(file: string, from: string, to: string): Spoil {
  return async (scopes) => {
    const text = await readFile(join(scopes, file), "utf8");
    if (!text.includes(from)) throw new Error(`${file} has no "${from}"`);
    await writeFile(join(scopes, file), text.replace(from, to));
  };
}

async function playOn(spoil: Spoil) {
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
    examineStore: () => Promise.reject(new Error("the demo examines no store")),
    openBroker: async (env, folder, _, clock = systemClock) => {
      await spoil(join(folder, "scopes"));
      const config = readServerConfig(env, folder);
      const broker = await startBroker(config, { log: () => undefined, clock });
      return {
        url: broker.url,
        settings: config,
        policy: broker.policy,
        close: () => broker.close(),
        reload: () => broker.reload(),
      };
    },
    maintenance: () => Promise.reject(new Error("not in this test")),
    onSignal: () => undefined,
    exit: () => undefined,
  });
  const { ok, steps } = parseTold(stdout);
  expect(ok).toBe(code === 0);
  return { code, steps };
}

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

describe("the clock of a story", () => {
  it("moves both of its clocks, so that they never part", () => {
    const real = { now: () => 1_000_000, monotonic: () => 7 };
    const clock = createStoryClock(real);
    clock.passHours(47);
    clock.passHours(1);
    expect(clock.now() - real.now()).toBe(48 * 3_600_000);
    expect(clock.monotonic() - real.monotonic()).toBe(48 * 3_600_000);
  });
});
