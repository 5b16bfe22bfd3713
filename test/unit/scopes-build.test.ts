// What a set of scopes may not say as a whole, and what it is once it fits together.

import { describe, expect, it } from "vitest";
import type { Agent, Resource } from "../../src/scopes/scope-set.ts";
import { baseFiles, buildFiles, buildWith, newKey, problemsOf, roleText, setOf } from "../support/scopes-text.ts";

const role = (lines: Readonly<Record<string, string>>) => roleText({ name: "other", ...lines });
const permissions = (actions: string, resources: string, requires = "") =>
  `[{ actions: [${actions}], resources: ${resources}${requires === "" ? "" : `, requires: ${requires}`} }]`;
const APPROVALS = "{ approvals: { count: 1, from: [oncall] } }";
const person = (name: string, key = newKey()) => `kind: Person\nname: ${name}\npowers: [audit]\nkeys: [${key}]`;
const agent = (labels: string, owner = "ada") =>
  `kind: Agent\nname: x\nowner: ${owner}\nlabels: ${labels}\nkeys: [${newKey()}]`;
const resource = (id: string, labels: string) => `kind: Resource\nid: ${id}\nlabels: ${labels}`;
const upstream = (name: string, environment: string, audience: string) =>
  `kind: Upstream\nname: ${name}\ntype: service\naudience: ${audience}\nenvironment: ${environment}\nactions: { a:b: { risk: read } }`;

const REFUSED: readonly (readonly [rule: string, text: string, place: string, message: string])[] = [
  [
    "two agents of one name",
    agent("{ environment: staging }").replace("name: x", "name: coder"),
    "2:7",
    'found "coder" again (first in scopes/people.yaml:8)',
  ],
  ["a person and an agent of one name", person("coder"), "2:7", "a name of its own"],
  ["a service and a person of one name", `kind: Service\nname: ada\nkeys: [${newKey()}]`, "2:7", "a name of its own"],
  ["two roles of one name", roleText(), "2:7", 'found "reader" again'],
  ["two environments of one name", "kind: Environment\nname: staging", "2:7", "again"],
  ["two upstreams of one name", upstream("shop", "staging", "https://x.example"), "2:7", "again"],
  ["a resource catalogued twice", resource("shop:volume/a", "{ environment: staging }"), "2:5", "an id of its own"],
  [
    "an owner who is not declared",
    agent("{ environment: staging }", "nobody"),
    "3:8",
    'a declared person, found "nobody"',
  ],
  ["an owner who is an agent", agent("{ environment: staging }", "coder"), "3:8", "a declared person"],
  ["an agent without environment (rule 2)", agent("{ team: platform }"), "4:9", "a label `environment`"],
  ["an agent of an undeclared environment (rule 1)", agent("{ environment: [staging, mars] }"), "4:34", 'found "mars"'],
  [
    "a resource of an undeclared environment (rule 1)",
    resource("shop:volume/c", "{ environment: [staging, mars] }"),
    "3:34",
    'found "mars"',
  ],
  [
    "a resource of an unknown upstream",
    resource("mars:volume/c", "{ environment: staging }"),
    "2:5",
    'a declared upstream, found "mars"',
  ],
  ["a resource without environment (rule 2)", resource("shop:volume/c", "{ team: a }"), "3:9", 'with "staging"'],
  [
    "a resource outside its service's environment (rule 6)",
    resource("shop:volume/c", "{ environment: production }"),
    "3:24",
    'with "staging", the environment of the upstream "shop"',
  ],
  ["an upstream of an undeclared environment", upstream("u", "mars", "https://x.example"), "5:14", 'found "mars"'],
  ["two upstreams of one audience", upstream("u", "staging", "HTTPS://shop.example:443/"), "4:11", 'that of "shop"'],
  ["a role of an undeclared environment", role({ environments: "[mars]" }), "4:16", 'found "mars"'],
  ["a role for agents of an undeclared environment", role({ agents: "{ environment: mars }" }), "3:24", 'found "mars"'],
  [
    "a permission on an undeclared environment",
    role({ permissions: permissions("volume:read", "{ environment: mars }") }),
    "5:67",
    'found "mars"',
  ],
  [
    "crossing from an undeclared environment",
    role({
      crossing: "{ from: mars, to: staging }",
      permissions: permissions("volume:read", "{ type: volume }", APPROVALS),
    }),
    "6:19",
    'found "mars"',
  ],
  [
    "crossing to an undeclared environment",
    role({
      crossing: "{ from: staging, to: [mars] }",
      permissions: permissions("volume:read", "{ type: volume }", APPROVALS),
    }),
    "6:33",
    'found "mars"',
  ],
  [
    "crossing to where it comes from",
    role({
      crossing: "{ from: staging, to: staging }",
      permissions: permissions("volume:read", "{ type: volume }", APPROVALS),
    }),
    "6:11",
    "different environments",
  ],
  [
    "a permission on an unknown upstream",
    role({ permissions: permissions("volume:read", "{ upstream: [shop, mars] }") }),
    "5:71",
    'found "mars"',
  ],
  [
    "a pattern of an unknown upstream",
    role({ permissions: permissions("volume:read", "['mars:*']") }),
    "5:53",
    'found "mars"',
  ],
  [
    "a pattern that no upstream matches",
    role({ permissions: permissions("volume:read", "['m*:*']") }),
    "5:53",
    'found "m*"',
  ],
  [
    "an action that nobody declares",
    role({ permissions: permissions("volume:shrink", "{ type: volume }") }),
    "5:27",
    'found "volume:shrink"',
  ],
  [
    "an action that only another upstream declares",
    role({ permissions: permissions("account:read", "['shop:*']") }),
    "5:27",
    'found "account:read"',
  ],
  [
    "an action that mints credentials",
    role({ permissions: permissions("key:create", "{ type: key }", APPROVALS) }),
    "5:27",
    "no action that mints credentials",
  ],
  [
    "crossing without approvals (rule 3)",
    role({ crossing: "{ from: staging, to: production }" }),
    "5:15",
    "needs an approval",
  ],
  [
    "crossing with only a reason (rule 3)",
    role({
      crossing: "{ from: staging, to: production }",
      permissions: permissions("volume:read", "{ type: volume }", "{ reason: true }"),
    }),
    "5:15",
    "needs an approval",
  ],
  [
    "destroying in a protected environment without approvals (rule 5)",
    role({ environments: "[staging, production]", permissions: permissions("volume:delete", "{ type: volume }") }),
    "5:27",
    'reaches the protected environment "production"',
  ],
  [
    "destroying in a protected environment for a reason alone (rule 5)",
    role({
      environments: "[production]",
      permissions: permissions("account:close", "{ type: account }", "{ reason: true, delay: 1h }"),
    }),
    "5:27",
    "expected `requires.approvals`",
  ],
];

describe("a set of scopes", () => {
  it.each(REFUSED)("refuses %s, with its place", (_rule, text, place, message) => {
    const [first, ...others] = problemsOf(buildWith(text));
    expect(first).toContain(`scopes/x.yaml:${place}: `);
    expect(first).toContain(message);
    expect(others).toEqual([]);
  });

  it("refuses a destructive permission without approvals where the role states no environments (rule 5)", () => {
    const text = role({ permissions: permissions("volume:delete", "{ type: volume }") }).replace(
      "environments: [staging]\n",
      "",
    );
    expect(problemsOf(buildWith(text))[0]).toContain("the role states no environments");
  });

  it("gives a destructive permission without approvals where nothing is protected (rule 5)", () => {
    expect(problemsOf(buildWith(role({ permissions: permissions("volume:delete", "{ type: volume }") })))).toEqual([]);
  });

  it("gives a destructive permission with approvals anywhere (rule 5)", () => {
    expect(
      problemsOf(
        buildWith(
          role({
            environments: "[production]",
            permissions: permissions("account:close", "{ type: account }", APPROVALS),
          }),
        ),
      ),
    ).toEqual([]);
  });

  it("refuses one key under two names, whatever is described beside it (rule 20)", () => {
    const key = newKey();
    const described = JSON.stringify({ kid: "other", ...(JSON.parse(key) as object) });
    expect(problemsOf(buildWith(`${person("eve", key)}\n---\n${person("eva", described)}`))).toEqual([
      expect.stringMatching(
        /^scopes\/x\.yaml:9:7: expected a key of its own, found that of "eve" \(scopes\/x\.yaml:1\)/,
      ),
    ]);
  });

  it("refuses one key under two names when one of them comes from a file (rule 20)", () => {
    const key = newKey();
    const text = `${person("eve", key)}\n---\n${person("eva").replace(/keys: .*/, "keys: [{ file: k }]")}`;
    expect(problemsOf(buildWith(text, () => ({ outcome: "read", text: key })))).toHaveLength(1);
  });

  it("is refused whole when one document is bad", () => {
    const result = buildWith("kind: Environment\nname: e\n---\nkind: Environment\nname: E");
    expect("set" in result).toBe(false);
  });

  it("cannot be changed once it is made", () => {
    const set = setOf(buildFiles(baseFiles()));
    const maps: ReadonlyMap<string, unknown>[] = [
      set.environments,
      set.upstreams,
      set.resources,
      set.roles,
      set.principals,
    ];
    for (const map of maps) {
      // What a caller without types could try.
      const open = map as Map<string, unknown>;
      expect(() => open.set("x", 1)).toThrow("cannot be changed");
      expect(() => open.delete("shop")).toThrow("cannot be changed");
      expect(() => open.clear()).toThrow("cannot be changed");
      for (const value of map.values()) expect(Object.isFrozen(value)).toBe(true);
    }
    expect(Object.isFrozen(set)).toBe(true);
    expect(Object.isFrozen(set.resources.get("shop:volume/a")?.labels["environment"])).toBe(true);
  });
});

const agentOf = (labels: Readonly<Record<string, readonly string[]>>): Agent => ({
  kind: "Agent",
  name: "x",
  keys: [],
  owner: null,
  labels,
  environments: labels["environment"] ?? [],
  attests: null,
});
const resourceOf = (labels: Readonly<Record<string, readonly string[]>>): Resource => ({
  id: "shop:volume/z",
  upstream: "shop",
  labels,
  environments: labels["environment"] ?? [],
});
const roleOf = (lines: Readonly<Record<string, string>>) => {
  const found = setOf(buildWith(role(lines))).roles.get("other");
  if (found === undefined) throw new Error("expected the role");
  return found;
};

describe("a role", () => {
  it("selects an agent when any value of each label matches (rule 4)", () => {
    const { selectsAgent } = roleOf({ agents: "{ team: [platform, data], tier: gold }" });
    expect(selectsAgent(agentOf({ team: ["web", "data"], tier: ["gold"] }))).toBe(true);
    expect(selectsAgent(agentOf({ team: ["web"], tier: ["gold"] }))).toBe(false);
    expect(selectsAgent(agentOf({ team: ["data"] }))).toBe(false);
    expect(selectsAgent(agentOf({}))).toBe(false);
  });

  it("covers a resource only when all values of each label are listed (rule 4)", () => {
    const covers = roleOf({ permissions: permissions("volume:read", "{ type: volume, tier: [a, b] }") }).permissions[0]
      ?.coversResource;
    expect(covers?.(resourceOf({ type: ["volume"], tier: ["a"] }))).toBe(true);
    expect(covers?.(resourceOf({ type: ["volume"], tier: ["b", "a"] }))).toBe(true);
    expect(covers?.(resourceOf({ type: ["volume"], tier: ["a", "c"] }))).toBe(false);
    expect(covers?.(resourceOf({ type: ["volume"] }))).toBe(false);
    expect(covers?.(resourceOf({ type: ["volume"], tier: [] }))).toBe(false);
  });

  it("covers what one of its patterns matches, exact ids among them", () => {
    const covers = roleOf({ permissions: permissions("volume:read", "['shop:volume/a', 'shop:volume/x-*']") })
      .permissions[0]?.coversResource;
    const covered = (id: string) => covers?.({ ...resourceOf({}), id });
    expect(
      ["shop:volume/a", "shop:volume/x-1", "shop:volume/x-", "shop:volume/x-1/y", "shop:volume/ab"].map(covered),
    ).toEqual([true, true, false, false, false]);
  });

  it("counts each catalogued pair of action and resource once, where the upstream declares the action (rule 8)", () => {
    const text = `[{ actions: [volume:read, account:read], resources: ['*:*/*'] }, { actions: [volume:read], resources: { type: volume } }]`;
    // One volume and one account; reading the volume is given twice.
    expect(roleOf({ permissions: text }).breadth).toBe(2);
  });

  it("has the documented ttl where it says nothing, and fits the rest to what it says", () => {
    expect(roleOf({}).ttl).toEqual({ defaultSeconds: 600, maxSeconds: 1800, credentialSeconds: 300 });
    expect(roleOf({ ttl: "{ max: 2m }" }).ttl).toEqual({
      defaultSeconds: 120,
      maxSeconds: 120,
      credentialSeconds: 120,
    });
    expect(roleOf({ ttl: "{ default: 1h }" }).ttl).toEqual({
      defaultSeconds: 3600,
      maxSeconds: 3600,
      credentialSeconds: 300,
    });
  });

  it("keeps what it requires, in seconds", () => {
    const requires =
      "{ approvals: { count: 2, from: [oncall, dba], perTeam: true }, delay: 48h, backup: { maxAge: 24h, separateFrom: [volume] }, reason: true }";
    expect(
      roleOf({ permissions: permissions("volume:delete", "{ type: volume }", requires) }).permissions[0]?.requires,
    ).toEqual({
      approvals: { count: 2, from: ["oncall", "dba"], perTeam: true },
      delaySeconds: 172_800,
      backup: { maxAgeSeconds: 86_400, separateFrom: ["volume"], restoreTested: false },
      reason: true,
      window: null,
      expireSeconds: 604_800,
    });
  });

  it("says where it stands", () => {
    expect(roleOf({}).place).toBe("scopes/x.yaml:1");
  });

  it("that matches no agent, or nothing in the catalogue, is a warning", () => {
    const set = setOf(
      buildWith(role({ agents: "{ team: nobody }", permissions: permissions("volume:read", "['shop:disk/*']") })),
    );
    expect(set.warnings).toEqual([
      "scopes/x.yaml:1: role other matches no agent",
      "scopes/x.yaml:1: role other gives nothing that is in the catalogue",
    ]);
  });
});

describe("rolesFor", () => {
  it("finds the roles of an agent that name the action, by name", () => {
    const set = setOf(
      buildWith(`${role({ name: "a-role" })}\n---\n${role({ name: "z-role", agents: "{ team: web }" })}`),
    );
    const coder = set.principals.get("coder");
    if (coder?.kind !== "Agent") throw new Error("expected the agent");
    expect(set.rolesFor(coder, "volume:read").map((found) => found.name)).toEqual(["a-role", "reader"]);
    expect(set.rolesFor(coder, "volume:delete")).toEqual([]);
    expect(set.rolesFor(coder, "constructor")).toEqual([]);
    expect(set.rolesFor(coder, "volume:read")).toBe(set.rolesFor(coder, "volume:read"));
  });
});
