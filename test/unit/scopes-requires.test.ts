// What a permission may require, and that what could never be met, or means nothing, does not load.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { buildWith, newKey, problemsOf, roleText, setOf } from "../support/scopes-text.ts";

const withRequires = (requires: string) =>
  roleText({
    name: "other",
    permissions: `[{ actions: [volume:read], resources: { type: volume }, requires: ${requires} }]`,
  });
const requirementsOf = (requires: string) =>
  setOf(buildWith(withRequires(requires))).roles.get("other")?.permissions[0]?.requires;
const people = (...ones: readonly (readonly [name: string, powers: string, teams: string])[]) =>
  ones
    .map(
      ([name, powers, teams]) =>
        `kind: Person\nname: ${name}\npowers: [${powers}]\nteams: [${teams}]\nkeys: [${newKey()}]`,
    )
    .join("\n---\n");

const NOTHING = {
  approvals: null,
  delaySeconds: null,
  backup: null,
  reason: false,
  window: null,
  expireSeconds: 604_800,
};
const window = (lines = "") => `{ window: { from: "09:00", to: "17:00", zone: Europe/Berlin${lines} } }`;
const HOURS = { from: "09:00", to: "17:00", zone: "Europe/Berlin" };

describe("requires", () => {
  it("may be each of the five alone, the others nothing", () => {
    expect(requirementsOf("{ approvals: { count: 1, from: [oncall, oncall] } }")).toEqual({
      ...NOTHING,
      approvals: { count: 1, from: ["oncall"], perTeam: false },
    });
    expect(requirementsOf("{ delay: 90d }")).toEqual({ ...NOTHING, delaySeconds: 7_776_000 });
    expect(requirementsOf("{ backup: { maxAge: 1h, separateFrom: [volume, volume], restoreTested: true } }")).toEqual({
      ...NOTHING,
      backup: { maxAgeSeconds: 3600, separateFrom: ["volume"], restoreTested: true },
    });
    expect(requirementsOf("{ reason: true }")).toEqual({ ...NOTHING, reason: true });
    expect(requirementsOf(window())).toEqual({
      ...NOTHING,
      window: { days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...HOURS },
    });
  });

  it("gives up after what `expire` says", () => {
    expect(requirementsOf("{ reason: true, expire: 30d }")?.expireSeconds).toBe(2_592_000);
    expect(requirementsOf("{ reason: true, expire: 1s }")?.expireSeconds).toBe(1);
  });

  it("has the days of a window in the order of the week, and one spelling of midnight", () => {
    expect(requirementsOf(window(", days: [fri, mon]"))?.window?.days).toEqual(["mon", "fri"]);
    expect(requirementsOf(window().replace("17:00", "00:00"))?.window?.to).toBe("24:00");
    expect(requirementsOf(window().replace("17:00", "08:00"))?.window).toMatchObject({ from: "09:00", to: "08:00" });
  });

  it("cannot be changed once it is made", () => {
    const requirements = requirementsOf(window());
    expect(Object.isFrozen(requirements)).toBe(true);
    expect(Object.isFrozen(requirements?.window)).toBe(true);
    expect(Object.isFrozen(requirements?.window?.days)).toBe(true);
  });

  it.each([
    ["nothing", "{}", "leave `requires` out"],
    ["only when it is given up", "{ expire: 7d }", "expected approvals, delay, backup, reason or window, found none"],
    ["null", "{ approvals: ~ }", "requires.approvals"],
    ["a reason that is not asked for", "{ reason: false }", "requires.reason: expected true"],
    ["no delay", "{ delay: 0s }", "expected a duration"],
    ["a delay beyond 90d", "{ delay: 91d }", "expected at most 90d"],
    ["a delay beyond 90d by a second", "{ delay: 7776001s }", "expected at most 90d"],
    ["an expiry of nothing", "{ reason: true, expire: 0d }", "expected a duration"],
    ["an expiry beyond 30d", "{ reason: true, expire: 31d }", "expected at most 30d"],
    ["a backup of any age", "{ backup: { separateFrom: [volume] } }", "backup.maxAge"],
    ["a backup of no age", "{ backup: { maxAge: 0h, separateFrom: [volume] } }", "backup.maxAge: expected a duration"],
    ["a backup that may be anywhere", "{ backup: { maxAge: 1h } }", "backup.separateFrom"],
    ["a backup apart from nothing", "{ backup: { maxAge: 1h, separateFrom: [] } }", "expected at least 1"],
    ["an unknown key of a backup", "{ backup: { maxAge: 1h, separateFrom: [volume], tested: true } }", '"tested"'],
    ["an unknown key of approvals", "{ approvals: { count: 1, from: [oncall], of: 2 } }", 'found "of"'],
    ["more people than can sign", "{ approvals: { count: 21, from: [oncall] } }", "expected at most 20"],
    ["a window of no day", window(", days: []"), "expected at least one day"],
    ["a window of an unknown day", window(", days: [mon, monday]"), 'found "monday"'],
    ["a window of a day twice", window(", days: [mon, mon]"), "expected each day once"],
    ["a window of no length", window().replace("17:00", "09:00"), "to differ"],
    ["a window from no time", window().replace("09:00", "9am"), "`from` as a time"],
    ["a window to no time", window().replace("17:00", "25:00"), "`to` as a time"],
    ["a window of an unknown zone", window().replace("Berlin", "Atlantis"), "an IANA name"],
    ["a window of an offset", window().replace("Europe/Berlin", '"+01:00"'), "an IANA name"],
    ["a window of no zone", window().replace(", zone: Europe/Berlin", ""), "window.zone"],
    ["a window of all the week", window().replace("09:00", "00:00").replace("17:00", "24:00"), "leave some out"],
    ["an unknown key of a window", window(", dates: []"), 'found "dates"'],
  ])("does not load with %s", (_rule, requires, message) => {
    const [problem, ...others] = problemsOf(buildWith(withRequires(requires)));
    expect(problem).toMatch(/^scopes\/x\.yaml:5:\d+: /);
    expect(problem).toContain(message);
    expect(others).toEqual([]);
  });

  it("does not load with an empty window", () => {
    const problems = problemsOf(buildWith(withRequires("{ window: {} }")));
    expect(problems.map((problem) => /window\.(\w+): expected an? .*'/.exec(problem)?.[1])).toEqual([
      "from",
      "to",
      "zone",
    ]);
  });

  it.each([
    [
      "a delay in words",
      "{ delay: 2 days }",
      "delay: expected a duration like '90s', '15m' or '48h', found \"2 days\"",
    ],
    ["a delay without a unit", "{ delay: 48 }", "delay: expected a duration like '90s', '15m' or '48h', found 48"],
    ["a day in full", window(", days: [monday]"), 'such as [mon, fri], found "monday"'],
    ["a day that is no list", window(", days: mon"), 'such as [mon, fri], found "mon"'],
    ["a time as a number", window().replace('"09:00"', "900"), "from: expected a time like '09:00', found 900"],
    [
      "no end",
      window().replace(' to: "17:00",', ""),
      "to: expected a time like '17:00', at most '24:00', found nothing",
    ],
    ["a city alone", window().replace("Europe/", ""), "`zone` as an IANA name like 'Europe/Berlin' or 'UTC'"],
  ])("says with an example what was expected in place of %s", (_what, requires, message) => {
    expect(problemsOf(buildWith(withRequires(requires)))).toEqual([expect.stringContaining(message)]);
  });

  it("does not load with fewer people than teams that must each sign (rule 20)", () => {
    const approvals = (count: number, from: string, perTeam = true) =>
      problemsOf(buildWith(withRequires(`{ approvals: { count: ${count}, from: [${from}], perTeam: ${perTeam} } }`)));
    expect(approvals(1, "oncall, dba")).toEqual([
      expect.stringContaining("approvals.count: expected a count that is at least the number of teams"),
    ]);
    expect(approvals(2, "oncall, dba")).toEqual([]);
    expect(approvals(1, "oncall, oncall")).toEqual([]);
    expect(approvals(1, "oncall, dba", false)).toEqual([]);
  });

  it("is in docs/scopes.md as it loads", () => {
    const [, block = ""] = /^ {4}requires:\n((?: {6}.*\n)+)/m.exec(readFileSync("docs/scopes.md", "utf8")) ?? [];
    const lines = block
      .trimEnd()
      .split("\n")
      .map((line) => line.trim());
    const requirements = requirementsOf(`{ ${lines.join(", ")} }`);
    expect(Object.entries(requirements ?? {}).filter(([, value]) => value === null || value === false)).toEqual([]);
  });
});

describe("approvals that nobody could give", () => {
  const approvals = (count: number, from: string, perTeam = false) =>
    withRequires(`{ approvals: { count: ${count}, from: [${from}], perTeam: ${perTeam} } }`);
  const warningsOf = (...texts: readonly string[]) =>
    setOf(buildWith(texts.join("\n---\n"))).warnings.map((warning) => warning.replace(/^scopes\/x\.yaml:\d+: /, ""));

  it("are a warning where too few people of the teams have the power", () => {
    expect(warningsOf(approvals(2, "oncall, dba"))).toEqual([
      "role other cannot be approved: it needs 2 people of oncall, dba with the power approve, there are 1",
    ]);
    expect(warningsOf(people(["bo", "revoke, audit", "dba"]), approvals(2, "oncall, dba"))).toHaveLength(1);
    expect(warningsOf(people(["bo", "approve", "web"]), approvals(2, "oncall, dba"))).toHaveLength(1);
    expect(warningsOf(people(["bo", "approve", "dba"]), approvals(2, "oncall, dba"))).toEqual([]);
  });

  it("count a person of two teams once", () => {
    const both = people(["bo", "approve", "dba, security"]);
    expect(warningsOf(both, approvals(2, "dba, security"))).toHaveLength(1);
  });

  it("are a warning for each team that nobody stands for, where each must sign", () => {
    const two = people(["bo", "approve", "oncall"]);
    expect(warningsOf(two, approvals(2, "oncall, dba", true))).toEqual([
      "role other cannot be approved: nobody of dba has the power approve",
    ]);
    expect(warningsOf(two, approvals(2, "oncall, dba"))).toEqual([]);
  });
});

describe("the owner of an agent", () => {
  const agent = (lines: string) =>
    `kind: Agent\nname: x\nlabels: { environment: staging, team: platform }\nkeys: [${newKey()}]${lines}`;
  const asks = withRequires("{ approvals: { count: 1, from: [oncall] } }");

  it("is demanded where a role that requires approvals selects it, naming both (rule 20)", () => {
    expect(problemsOf(buildWith(`${agent("")}\n---\n${asks}`))).toEqual([
      expect.stringMatching(
        /^scopes\/x\.yaml:2:7: expected an `owner`, found none: the role "other" selects the agent "x" and requires approvals/,
      ),
    ]);
    expect(problemsOf(buildWith(`${agent("\nowner: ada")}\n---\n${asks}`))).toEqual([]);
  });

  it("is not demanded where no such role selects it", () => {
    expect(problemsOf(buildWith(agent("")))).toEqual([]);
    expect(problemsOf(buildWith(`${agent("")}\n---\n${withRequires("{ delay: 1h }")}`))).toEqual([]);
    const elsewhere = agent("").replace("team: platform", "team: web");
    expect(problemsOf(buildWith(`${elsewhere}\n---\n${asks}`))).toEqual([]);
  });

  it("is demanded of each such agent", () => {
    const both = `${agent("")}\n---\n${agent("").replace("name: x", "name: y")}\n---\n${asks}`;
    expect(problemsOf(buildWith(both))).toHaveLength(2);
  });
});
