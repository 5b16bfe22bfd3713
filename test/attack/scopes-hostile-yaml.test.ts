// YAML that means harm: it is refused with a message, in bounded time, and changes nothing else.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadScopes } from "../../src/scopes/load.ts";
import { parseDocuments } from "../../src/scopes/parse.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import { baseFiles, buildWith, newKey, noKeyFiles, problemsOf, setOf } from "../support/scopes-text.ts";

function refusals(text: string): readonly string[] {
  const parsed = parseDocuments([{ path: "f.yaml", text }], noKeyFiles);
  return "problems" in parsed ? parsed.problems.map(formatProblem) : [];
}

describe("hostile text", () => {
  it("refuses a billion laughs at its first alias and expands nothing", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array.from({ length: 10 }, () => `*l${i}`).join(", ")}]`,
    );
    const problems = refusals(`kind: Environment\nl0: &l0 lol\n${levels.join("\n")}\n`);
    expect(problems[0]).toContain("expected no anchor");
    expect(problems.join()).toContain("found the alias '*l0'");
  });

  it("refuses an alias to itself", () => {
    expect(refusals("kind: &a\n  x: *a\n").join()).toContain("alias");
  });

  it.each([
    ["10,000 lists", `kind: Environment\nname: ${"[".repeat(10_000)}${"]".repeat(10_000)}`],
    ["10,000 maps", `kind: Environment\nname: ${"{a: ".repeat(10_000)}x${"}".repeat(10_000)}`],
    ["10,000 dashes", `${"- ".repeat(10_000)}x`],
    ["1,000 indented maps", Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")],
    ["seventeen lists", `kind: Environment\nname: ${"[".repeat(17)}${"]".repeat(17)}`],
  ])("refuses %s inside each other", (_rule, text) => {
    const problems = refusals(text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems[0]).toMatch(/nesting|well-formed/);
  });

  it("refuses NUL and other control characters, with their place", () => {
    expect(refusals("kind: Environment\nname: a\0b")).toEqual([
      "f.yaml:2:8: expected plain text, found the control character U+0000",
    ]);
    expect(refusals("kind: Environment\nname: a\u001bb")[0]).toContain("U+001b");
    expect(refusals('kind: Environment\nname: "a\\0b"')[0]).toContain("expected a name");
  });

  it("takes a byte order mark at the beginning for what it is, and no other", () => {
    expect(refusals("\ufeffkind: Environment\nname: a")).toEqual([]);
    expect(refusals("kind: Environment\nname: \ufeffa")[0]).toContain("expected a name");
  });

  it("refuses `__proto__` as a key wherever it stands", () => {
    for (const text of [
      "kind: Environment\nname: x\n__proto__: { protected: false }",
      "kind: Resource\nid: shop:volume/x\nlabels: { environment: staging, __proto__: [a] }",
      'kind: Resource\nid: shop:volume/x\nlabels: { environment: staging, "__proto__": [a] }',
    ]) {
      expect(refusals(text).join()).toContain("another key than '__proto__'");
    }
    expect(Object.hasOwn(Object.prototype, "protected")).toBe(false);
  });

  it("takes `constructor` and its like as names and labels like any other", () => {
    const text = `kind: Environment\nname: constructor\n---\nkind: Agent\nname: valueof\nlabels: { environment: constructor, constructor: [tostring] }\nkeys: [${newKey()}]`;
    const set = setOf(buildWith(text));
    const found = set.principals.get("valueof");
    expect(found?.kind === "Agent" ? found.labels["constructor"] : null).toEqual(["tostring"]);
    const other = set.principals.get("coder");
    expect(other?.kind === "Agent" ? other.labels["constructor"] : null).toBeUndefined();
    expect(set.principals.get("constructor")).toBeUndefined();
  });

  it("matches no selector by what every object inherits", () => {
    const text =
      "kind: Role\nname: r\nagents: { constructor: x }\nenvironments: [staging]\npermissions: [{ actions: [volume:read], resources: { tostring: x } }]";
    const set = setOf(buildWith(text));
    const coder = set.principals.get("coder");
    if (coder?.kind !== "Agent") throw new Error("expected the agent");
    expect(set.roles.get("r")?.selectsAgent(coder)).toBe(false);
    expect(set.roles.get("r")?.breadth).toBe(0);
  });

  it("refuses duplicate keys, so that no reader sees another policy than this one", () => {
    expect(problemsOf(buildWith("kind: Environment\nname: x\nprotected: true\nprotected: false"))[0]).toContain(
      "each key once",
    );
  });

  it("refuses 60,000 keys in one map without comparing each to each", () => {
    const began = performance.now();
    expect(
      refusals(`kind: Environment\nname: x\n${Array.from({ length: 60_000 }, (_, i) => `k${i}: 1`).join("\n")}`).length,
    ).toBeGreaterThan(0);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it("refuses more than 1 MB in a file, 8 MB in all, 1,000 files and 20,000 documents", () => {
    const comment = `# ${"x".repeat(1024 * 1024 - 3)}\n`;
    expect(refusals(`${comment}\n`)[0]).toContain("at most 1048576 bytes");
    const parse = (count: number, text: string) => {
      const parsed = parseDocuments(
        Array.from({ length: count }, (_, i) => ({ path: `f${i}`, text })),
        noKeyFiles,
      );
      return "problems" in parsed ? parsed.problems.map(formatProblem).join("\n") : "";
    };
    expect(parse(9, comment)).toContain("8388608 bytes in all");
    expect(parse(1001, "")).toContain("at most 1000 files");
    expect(parse(1, "---\na: 1\n".repeat(20_001))).toContain("at most 20000 documents");
  });
});

describe("a hostile folder", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hostile-"));
    for (const { path, text } of baseFiles()) writeFileSync(join(folder, path.replace("scopes/", "")), text);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const problems = async () => {
    const result = await loadScopes(folder);
    return "problems" in result ? result.problems.map(formatProblem) : [];
  };

  it("with a file of 10 MB is refused without reading it whole", async () => {
    writeFileSync(join(folder, "big.yaml"), Buffer.alloc(10 * 1024 * 1024, "#"));
    expect(await problems()).toEqual([expect.stringContaining("big.yaml: expected a file of at most 1048576 bytes")]);
  });

  it("with a pipe in place of a file or a key is refused and does not wait", async () => {
    execFileSync("mkfifo", [join(folder, "pipe.yaml")]);
    expect(await problems()).toEqual([expect.stringContaining("pipe.yaml: expected a regular file")]);
    rmSync(join(folder, "pipe.yaml"));
    execFileSync("mkfifo", [join(folder, "key.jwk")]);
    writeFileSync(
      join(folder, "agent.yaml"),
      "kind: Agent\nname: x\nlabels: { environment: staging }\nkeys: [{ file: key.jwk }]",
    );
    expect(await problems()).toEqual([expect.stringContaining("expected a regular file")]);
  });

  it("with text made to be slow to parse leaves the event loop free, and is refused", async () => {
    mkdirSync(join(folder, "slow"));
    writeFileSync(join(folder, "slow/a.yaml"), "[".repeat(300_000));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const began = performance.now();
    const found = await problems();
    clearInterval(timer);
    expect(found.length).toBeGreaterThan(0);
    // A free loop ticks some 200 times a second; a blocked one not at all.
    expect(ticks).toBeGreaterThan((performance.now() - began) / 100);
  }, 60_000);
});
