// What `scopes check` says of requirements that could never be met, or with more than they seem to ask.

import { cp } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MAX_REQUIRING, warnOfHolds } from "../../src/policy/hold-warnings.ts";
import { buildScopeSet } from "../../src/scopes/build.ts";
import { parseDocuments } from "../../src/scopes/parse.ts";
import { makeFolder, runCli } from "../cli/cli-run.ts";
import { ROOT } from "../support/generate.ts";
import { baseFiles, httpText, newKey, noKeyFiles, problemsOf, resourceText, roleText } from "../support/scopes-text.ts";

/** Of the working set with these documents, which stand in one file. */
function warningsOf(...texts: readonly string[]): readonly string[] {
  const parsed = parseDocuments([...baseFiles(), { path: "scopes/x.yaml", text: texts.join("\n---\n") }], noKeyFiles);
  if ("problems" in parsed) throw new Error(problemsOf(parsed).join("\n"));
  const built = buildScopeSet(parsed.documents);
  if ("problems" in built) throw new Error(problemsOf(built).join("\n"));
  return warnOfHolds(parsed.documents, built.set, 0);
}

const keeper = (requires: string, resources = "{ type: volume }", actions = "volume:delete") =>
  roleText({
    name: "keeper",
    permissions: `[{ actions: [${actions}], resources: ${resources}, requires: ${requires} }]`,
  });
const person = (name: string, teams: string, lines = "") =>
  `kind: Person\nname: ${name}\npowers: [approve]\nteams: [${teams}]\nkeys: [${newKey()}]${lines}`;
const agent = (name: string, owner: string, lines: string) =>
  `kind: Agent\nname: ${name}\nowner: ${owner}\nlabels: { environment: staging, team: ${name} }\nkeys: [${newKey()}]\n${lines}`;
const located = resourceText("shop:volume/b", "{ environment: staging, volume: b }");
const backup = (lines = "separateFrom: [type]") => `{ backup: { maxAge: 24h, ${lines} } }`;
const bo = person("bo", "dba");
const attestor = agent("job", "bo", "attests: { type: volume }");

describe("approvals", () => {
  it("that only an owner of the agent could give are a warning, with file and line", () => {
    const [warning, ...more] = warningsOf(keeper("{ approvals: { count: 1, from: [oncall] } }"));
    expect(warning).toMatch(/^scopes\/x\.yaml:5: role keeper requires approvals that coder can never get: /);
    expect(warning).toContain("who owns coder does not count");
    expect(more).toEqual([]);
  });

  it("are no warning once somebody else may give them", () => {
    const role = keeper("{ approvals: { count: 1, from: [oncall] } }");
    expect(warningsOf(role, person("bo", "oncall"))).toEqual([]);
  });

  it("are a warning where owners aside there are fewer people than they count", () => {
    const role = keeper("{ approvals: { count: 2, from: [oncall] } }");
    expect(warningsOf(role, person("bo", "oncall"))).toHaveLength(1);
    expect(warningsOf(role, person("bo", "oncall"), person("cy", "oncall"))).toEqual([]);
  });

  it("are a warning where one person would have to stand for two teams", () => {
    const role = keeper("{ approvals: { count: 2, from: [oncall, dba], perTeam: true } }");
    expect(warningsOf(role, person("bo", "oncall, dba"), person("cy", "web"))).toHaveLength(1);
    expect(warningsOf(role, person("bo", "oncall, dba"), person("cy", "dba"))).toEqual([]);
  });

  it("are told once where loading tells of them, and for agents of each owner otherwise", () => {
    expect(warningsOf(keeper("{ approvals: { count: 1, from: [nobody] } }"))).toEqual([]);
    const role = roleText({
      name: "keeper",
      agents: "{ environment: staging }",
      permissions:
        "[{ actions: [volume:delete], resources: { type: volume }, requires: { approvals: { count: 1, from: [oncall] } } }]",
    });
    const warnings = warningsOf(role, person("bo", "web"), agent("one", "bo", ""), agent("two", "ada", ""));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("that coder, two can never get");
  });
});

describe("a backup", () => {
  it("that nobody may attest is a warning that names the resources", () => {
    expect(warningsOf(keeper(backup()), located)).toEqual([
      "scopes/x.yaml:5: role keeper requires a backup, and no agent may attest one of shop:volume/a, shop:volume/b: give `attests` to an agent of another owner than those that ask",
    ]);
    expect(warningsOf(keeper(backup()), located, bo, attestor)).toEqual([]);
  });

  it("that nobody may attest of some resources alone is a warning that names those", () => {
    const some = agent("job", "bo", "attests: { type: volume, volume: b }");
    const [warning] = warningsOf(keeper(backup()), located, bo, some);
    expect(warning).toContain("no agent may attest one of shop:volume/a:");
    expect(warningsOf(keeper(backup(), "{ volume: b }"), located, bo, some)).toEqual([]);
  });

  it("that only agents of the asking agent's owner may attest is a warning (rule 25)", () => {
    const related = agent("job", "ada", "attests: { type: volume }");
    const [warning, ...more] = warningsOf(keeper(backup()), related);
    expect(warning).toContain("for coder only agents of the same owner, ada, may attest one of shop:volume/a:");
    expect(more).toEqual([]);
    expect(warningsOf(keeper(backup()), related, bo, agent("other", "bo", "attests: { type: volume }"))).toEqual([]);
  });

  it("counts resources alone that the agent can reach, by a crossing too", () => {
    const far =
      "kind: Upstream\nname: far\ntype: service\naudience: https://far.example\nenvironment: production\nactions: { volume:read: { risk: read } }";
    const elsewhere = resourceText("far:volume/z", "{ environment: production }");
    const near = agent("job", "bo", "attests: { upstream: shop }");
    const role = (lines: Readonly<Record<string, string>>, requires: string) =>
      roleText({
        name: "keeper",
        permissions: `[{ actions: [volume:read], resources: { type: volume }, requires: ${requires} }]`,
        ...lines,
      });
    const both = { environments: "[staging, production]" };
    expect(warningsOf(role({}, backup()), far, elsewhere, bo, near)).toEqual([]);
    expect(warningsOf(role(both, backup()), far, elsewhere, bo, near)).toEqual([]);
    const crossing = role(
      { ...both, crossing: "{ from: staging, to: production }" },
      `{ approvals: { count: 1, from: [dba] }, ${backup().slice(1)}`,
    );
    const [warning, ...more] = warningsOf(crossing, far, elsewhere, bo, near);
    expect(warning).toContain("no agent may attest one of far:volume/z:");
    expect(more).toEqual([]);
  });

  it("that must differ in a label that resources lack is a warning", () => {
    const role = keeper(backup("separateFrom: [type, volume]"));
    expect(warningsOf(role, located, bo, attestor)).toEqual([
      "scopes/x.yaml:5: role keeper requires a backup with another volume, and the label volume is missing on shop:volume/a, so that none can count: add it in the catalogue, or take volume out of separateFrom",
    ]);
  });

  it("that is too old after the delay is a warning", () => {
    const role = (delay: string) => keeper(`{ delay: ${delay}, ${backup().slice(1)}`);
    expect(warningsOf(role("24h"), bo, attestor)).toEqual([
      "scopes/x.yaml:5: role keeper takes a backup of at most 24h after a delay of 24h: one has to be attested anew while a request waits, so attest at least every 24h, or raise maxAge",
    ]);
    expect(warningsOf(role("48h"), bo, attestor)).toHaveLength(1);
    expect(warningsOf(role("23h"), bo, attestor)).toEqual([]);
  });
});

describe("a backup of what only a provider knows", () => {
  const resolve = (labels: string) =>
    httpText({
      environments: "{ env-1: staging }",
      resolve: `[{ resource: 'thing/{id}', get: '/things/{id}', same: { id: id }, labels: { ${labels} } }]`,
    });
  const named = keeper(backup("separateFrom: [volume]"), "{ upstream: web, type: thing }", "thing:delete");
  const job = agent("job", "bo", "attests: { upstream: web, type: thing }");

  it("is a warning where the permission names its upstream and nobody may attest it", () => {
    const warnings = warningsOf(resolve("environment: env, volume: id"), named);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("no agent may attest one of web:thing/{id}:");
    expect(warningsOf(resolve("environment: env, volume: id"), named, bo, job)).toEqual([]);
  });

  it("is a warning where neither provider nor catalogue gives the label", () => {
    const warnings = warningsOf(resolve("environment: env"), named, bo, job);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("the label volume is missing on web:thing/{id}");
    const listed = resourceText("web:thing/1", "{ environment: staging, volume: v }");
    expect(warningsOf(resolve("environment: env"), named, bo, job, listed)).toEqual([]);
  });

  it("is none where a selector reaches its upstream among others", () => {
    const wide = keeper(backup("separateFrom: [volume]"), "{ environment: staging }", "thing:delete");
    expect(warningsOf(resolve("environment: env"), wide, bo, job)).toEqual([]);
  });

  it("is covered by patterns as by selectors", () => {
    const pattern = keeper(backup("separateFrom: [volume]"), '["web:thing/*"]', "thing:delete");
    expect(warningsOf(resolve("environment: env, volume: id"), pattern)).toHaveLength(1);
    expect(warningsOf(resolve("environment: env, volume: id"), pattern, bo, job)).toEqual([]);
  });
});

describe("an agent that attests", () => {
  it("what no role requires is a warning at its line", () => {
    expect(warningsOf(bo, attestor)).toEqual([
      expect.stringMatching(/^scopes\/x\.yaml:12: agent job may attest backups that no role requires: /),
    ]);
    const other = agent("job", "bo", "attests: { type: thing }");
    expect(warningsOf(keeper(backup()), bo, other).filter((one) => one.includes("agent job"))).toHaveLength(1);
  });
});

describe("very many requirements", () => {
  it("are looked at up to a bound, and it is said where that ends", () => {
    const entry = `{ actions: [volume:read], resources: { type: volume }, requires: ${backup()} }`;
    const roles = Array.from({ length: MAX_REQUIRING / 100 }, (_, index) =>
      roleText({ name: `role-${index}`, permissions: `[${Array(100).fill(entry).join(", ")}]` }),
    );
    expect(warningsOf(...roles, bo, attestor)).toEqual([]);
    const [warning, ...more] = warningsOf(
      ...roles,
      keeper(backup()),
      bo,
      agent("idle", "bo", "attests: { type: thing }"),
      attestor,
    );
    expect(warning).toMatch(/^scopes\/x\.yaml:\d+: role keeper and what follows was not looked at/);
    expect(more).toEqual([]);
  });
});

describe("scopes check", () => {
  it("tells of them after its other warnings, and only of the renewal in the policy that is shipped", async () => {
    const cwd = await makeFolder();
    await cp(join(ROOT, "scopes"), join(cwd, "scopes"), { recursive: true });
    await runCli(["init", "--sample"], { cwd });
    const shown = await runCli(["scopes", "check"], { cwd });
    expect(shown.code).toBe(0);
    const said = shown.stdout.split("\n").filter((line) => line.startsWith("warning: "));
    expect(said).toEqual([
      expect.stringMatching(/scopes\/roles\.yaml:\d+: role volume-keeper takes a backup of at most /),
    ]);
    const { stdout } = await runCli(["scopes", "check", "--json"], { cwd });
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, warnings: said.map((line) => line.replace("warning: ", "")) });
  });
});
