// What a document of scopes may not say, and where the message points.

import { describe, expect, it } from "vitest";
import { parseDocuments } from "../../src/scopes/parse.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import { buildWith, newEdKey, newKey, problemsOf, roleText, setOf } from "../support/scopes-text.ts";

const agent = (keys: string) => `kind: Agent\nname: x\nlabels: { environment: staging }\nkeys: ${keys}`;
const upstream = (audience: string) =>
  `kind: Upstream\nname: u\ntype: service\naudience: ${audience}\nenvironment: staging\nactions: { a:b: { risk: read } }`;
const environment = (line: string) => `kind: Environment\n${line}`;

/** Text of one document, the place and a part of the message. */
const REFUSED: readonly (readonly [rule: string, text: string, place: string, message: string])[] = [
  ["an anchor", "kind: Environment\nname: &a x", "2:10", "no anchor, found '&a'"],
  ["an alias", "kind: Environment\nname: *a", "2:7", "alias"],
  ["a merge key", "kind: Environment\n<<: { name: x }", "2:1", "no merge key"],
  ["an explicit tag", "kind: Environment\nname: !!str x", "2:13", "no explicit tag"],
  ["a local tag", "kind: Environment\nname: !x y", "2:10", "no explicit tag"],
  ["a YAML directive", "%YAML 1.1\n---\nkind: Environment\nname: x", "3:1", "no YAML directive"],
  ["a tag directive", "%TAG !e! tag:example.com,2000:\n---\nkind: Environment\nname: x", "3:1", "no YAML directive"],
  ["a duplicate key", "kind: Environment\nname: x\nname: y", "3:1", 'each key once, found "name" again'],
  ["a duplicate key in quotes", 'kind: Environment\nname: x\n"name": y', "3:1", 'each key once, found "name" again'],
  ["a key that is a number", "kind: Environment\n1: x", "2:1", "a key that is a string"],
  ["a key that is a list", "kind: Environment\n? [a]\n: x", "2:3", "a key that is a string"],
  ["a key with an anchor", "kind: Environment\n&a name: x", "2:4", "plain key"],
  ["a document that is a list", "- a", "1:1", "expected a map with a `kind`, found a list"],
  ["a document that is a text", "hello", "1:1", "found a single value"],
  ["a document that is null", "~", "1:1", "found a single value"],
  ["an unknown kind", "kind: Envronment\nname: x", "1:7", 'found "Envronment"'],
  ["a kind from a prototype", "kind: constructor\nname: x", "1:7", 'found "constructor"'],
  ["a missing kind", "name: x", "1:1", "expected a `kind`"],
  [
    "an unknown key, naming the known",
    environment("name: x\nprotectd: true"),
    "3:1",
    'only the keys kind, name, protected, found "protectd"',
  ],
  ["a missing name", "kind: Environment", "1:1", "name: expected text, found nothing"],
  [
    "a name in upper case",
    environment("name: Prod"),
    "2:7",
    "expected a name: lower-case letters, digits, '.', '_' or '-', at most 64, found \"Prod\"",
  ],
  ["a YAML 1.1 boolean", environment("name: x\nprotected: no"), "3:12", 'expected true or false, found "no"'],
  ["unfinished flow", "kind: Environment\nname: [x", "2:9", "well-formed YAML"],
  ["a tab as indentation", "kind: Role\nttl:\n\tmax: 5m", "3:1", "well-formed YAML"],
  ["a selector without labels", roleText({ agents: "{}" }), "3:9", "found an empty selector"],
  [
    "a role without a selector",
    "kind: Role\nname: x\npermissions: [{ actions: [a:b], resources: { type: x } }]",
    "1:1",
    "agents: expected a map, found nothing",
  ],
  [
    "a selector label without values",
    roleText({ agents: "{ team: [] }" }),
    "3:17",
    "expected at least 1 items, found an empty list",
  ],
  [
    "a resource selector without labels",
    roleText({ permissions: "[{ actions: [volume:read], resources: {} }]" }),
    "5:52",
    "empty selector",
  ],
  ["no permissions", roleText({ permissions: "[]" }), "5:14", "expected at least 1 items"],
  [
    "no actions",
    roleText({ permissions: "[{ actions: [], resources: { type: x } }]" }),
    "5:26",
    "expected at least 1 items",
  ],
  [
    "a wildcard in an action",
    roleText({ permissions: "[{ actions: ['volume:*'], resources: { type: x } }]" }),
    "5:27",
    "no wildcards",
  ],
  [
    "a pattern with **",
    roleText({ permissions: "[{ actions: [volume:read], resources: ['shop:**'] }]" }),
    "5:53",
    "a resource pattern",
  ],
  [
    "a pattern without upstream",
    roleText({ permissions: "[{ actions: [volume:read], resources: ['*'] }]" }),
    "5:53",
    "a resource pattern",
  ],
  [
    "a pattern with dot segments",
    roleText({ permissions: "[{ actions: [volume:read], resources: ['shop:../*'] }]" }),
    "5:53",
    "a resource pattern",
  ],
  [
    "an empty requires",
    roleText({ permissions: "[{ actions: [volume:read], resources: { type: x }, requires: {} }]" }),
    "5:75",
    "leave `requires` out",
  ],
  ["a limit of 0", roleText({ limits: "{ perMinute: 0 }" }), "6:22", "expected at least 1, found 0"],
  ["a duration of 0", roleText({ ttl: "{ max: 0s }" }), "6:13", "expected a duration"],
  ["a default ttl beyond its max", roleText({ ttl: "{ default: 31m, max: 30m }" }), "6:17", "at most `max`"],
  ["a credential life beyond max", roleText({ ttl: "{ credential: 10m, max: 5m }" }), "6:20", "at most `max`"],
  ["crossing without `to`", roleText({ crossing: "{ from: staging }" }), "6:11", "crossing.to"],
  [
    "a requirement that is not known",
    roleText({
      permissions: "[{ actions: [volume:read], resources: { type: x }, requires: { reason: true, weather: x } }]",
    }),
    "5:91",
    'found "weather"',
  ],
  [
    "a built-in label on a resource",
    "kind: Resource\nid: shop:volume/c\nlabels: { environment: staging, type: x }",
    "3:9",
    "both are built in",
  ],
  [
    "a resource with a wildcard",
    "kind: Resource\nid: shop:volume/*\nlabels: { environment: staging }",
    "2:5",
    "expected a resource like",
  ],
  [
    "an unknown power",
    `kind: Person\nname: x\npowers: [root]\nkeys: [${newKey()}]`,
    "3:10",
    'expected approve or revoke or audit or administer, found "root"',
  ],
  [
    "a person without powers",
    `kind: Person\nname: x\npowers: []\nkeys: [${newKey()}]`,
    "3:9",
    "expected at least 1 items",
  ],
  ["no keys", agent("[]"), "4:7", "expected at least 1 items"],
  [
    "an unknown risk",
    upstream("https://u.example").replace("risk: read", "risk: low"),
    "6:25",
    "expected read or write or destructive or mints-credentials",
  ],
  [
    "an upstream without actions",
    upstream("https://u.example").replace("{ a:b: { risk: read } }", "{}"),
    "6:10",
    "at least one action",
  ],
  ["an audience that is a path", upstream("/u"), "4:11", "absolute http or https URL"],
  ["an audience with a fragment", upstream('"https://u.example/#a"'), "4:11", "without fragment"],
  ["an audience with a user name", upstream("https://root@u.example"), "4:11", "user name"],
  ["an audience of another scheme", upstream("javascript:alert"), "4:11", "absolute http or https URL"],
];

describe("a document", () => {
  it.each(REFUSED)("refuses %s, with its place", (_rule, text, place, message) => {
    const [first, ...others] = problemsOf(buildWith(text));
    expect(first).toContain(`scopes/x.yaml:${place}: `);
    expect(first).toContain(message);
    expect(others).toEqual([]);
  });

  it.each([0, -1, 1.5, "two", "~"])("refuses approvals.count %s: never 'no approval needed'", (count) => {
    const text = roleText({
      permissions: `[{ actions: [volume:read], resources: { type: x }, requires: { approvals: { count: ${count}, from: [oncall] } } }]`,
    });
    expect(problemsOf(buildWith(text))[0]).toContain("permissions.0.requires.approvals.count: expected");
  });

  it("refuses approvals without a count, or from nobody", () => {
    const permission = (approvals: string) =>
      `[{ actions: [volume:read], resources: { type: x }, requires: { approvals: ${approvals} } }]`;
    expect(problemsOf(buildWith(roleText({ permissions: permission("{ from: [oncall] }") })))[0]).toContain(
      "approvals.count: expected",
    );
    expect(problemsOf(buildWith(roleText({ permissions: permission("{ count: 1 }") })))[0]).toContain(
      "approvals.from: expected",
    );
    expect(problemsOf(buildWith(roleText({ permissions: permission("{ count: 1, from: [] }") })))[0]).toContain(
      "approvals.from: expected at least 1",
    );
  });

  it("reads several documents of a file and passes over empty ones", () => {
    const set = setOf(
      buildWith("---\n# nothing\n---\nkind: Environment\nname: e1\n---\nkind: Environment\nname: e2\n---\n"),
    );
    expect([...set.environments.keys()]).toEqual(expect.arrayContaining(["e1", "e2"]));
  });

  it("takes words that YAML 1.1 calls booleans as text", () => {
    const set = setOf(buildWith("kind: Environment\nname: on\nprotected: false"));
    expect(set.environments.get("on")?.protected).toBe(false);
  });

  it("protects an environment that does not say otherwise", () => {
    expect(setOf(buildWith("kind: Environment\nname: e")).environments.get("e")?.protected).toBe(true);
  });

  it("collects every problem of every file, in order, and lists a hundred", () => {
    const files = Array.from({ length: 60 }, (_, i) => ({
      path: `f${String(i).padStart(2, "0")}.yaml`,
      text: "kind: Environment\nname: X\nother: 1\n---\nkind: Nothing",
    }));
    const parsed = parseDocuments(files, () => ({ outcome: "missing" }));
    if (!("problems" in parsed)) throw new Error("expected problems");
    expect(parsed.problems).toHaveLength(101);
    expect(
      parsed.problems
        .slice(0, 3)
        .map(formatProblem)
        .map((line) => line.split(": ")[0]),
    ).toEqual(["f00.yaml:2:7", "f00.yaml:3:1", "f00.yaml:5:7"]);
    expect(parsed.problems.at(-1)?.message).toBe("80 more problems are not listed");
  });
});

describe("a key", () => {
  it("is P-256 or Ed25519, inline", () => {
    const set = setOf(buildWith(agent(`[${newKey()}, ${newEdKey()}]`)));
    expect(
      set.principals
        .get("x")
        ?.keys.map((key) => key["crv"])
        .toSorted(),
    ).toEqual(["Ed25519", "P-256"]);
  });

  it("loses what does not identify it", () => {
    const described = JSON.stringify({ ...(JSON.parse(newKey()) as object), kid: "k", alg: "ES256", use: "sig" });
    expect(Object.keys(setOf(buildWith(agent(`[${described}]`))).principals.get("x")?.keys[0] ?? {})).toEqual([
      "crv",
      "kty",
      "x",
      "y",
    ]);
  });

  it.each([
    ["another curve", { kty: "EC", crv: "P-384", x: "A".repeat(43), y: "A".repeat(43) }],
    ["another type", { kty: "oct", k: "AAAA" }],
    ["a point that is not on the curve", { kty: "EC", crv: "P-256", x: "A".repeat(43), y: "A".repeat(43) }],
    ["a missing coordinate", { kty: "EC", crv: "P-256", x: "A".repeat(43) }],
    ["an unknown member", { kty: "OKP", crv: "Ed25519", x: "A".repeat(43), hint: "x" }],
    ["a text", "ssh-ed25519 AAAA"],
  ])("refuses %s", (_rule, key) => {
    const [problem] = problemsOf(buildWith(agent(`[${JSON.stringify(key)}]`)));
    expect(problem).toContain("scopes/x.yaml:4:");
    expect(problem).not.toContain("AAAA");
  });

  it("refuses a second spelling of the same bytes", () => {
    const key = JSON.parse(newEdKey()) as { x: string };
    const last = key.x.at(-1) ?? "";
    // 43 characters carry two bits more than 32 bytes: the next character means the same.
    const respelled = { ...key, x: key.x.slice(0, -1) + String.fromCharCode(last.charCodeAt(0) + 1) };
    expect(problemsOf(buildWith(agent(`[${JSON.stringify(respelled)}]`)))).toHaveLength(1);
  });

  it("refuses a private key, inline or in a file, and never repeats it", () => {
    const secret = "S".repeat(43);
    const inline = JSON.stringify({ ...(JSON.parse(newKey()) as object), d: secret });
    const file = `{ file: ../keys/x.pub.jwk }`;
    for (const result of [
      buildWith(agent(`[${inline}]`)),
      buildWith(agent(`[${file}]`), () => ({ outcome: "read", text: inline })),
    ]) {
      const [problem = ""] = problemsOf(result);
      expect(problem).toContain("expected a public key, found a private one");
      expect(problem).not.toContain(secret);
    }
  });

  it("comes from a file beside the YAML; a missing one is a warning and no key", () => {
    const asked: string[] = [];
    const found = buildWith(agent("[{ file: ../keys/x.pub.jwk }]"), (path) => {
      asked.push(path);
      return { outcome: "read", text: newKey() };
    });
    expect(asked).toEqual(["keys/x.pub.jwk"]);
    expect(setOf(found).principals.get("x")?.keys).toHaveLength(1);
    const missing = setOf(buildWith(agent("[{ file: ../keys/x.pub.jwk }]")));
    expect(missing.principals.get("x")?.keys).toEqual([]);
    expect(missing.warnings.join()).toContain("x cannot authenticate with ../keys/x.pub.jwk");
  });

  it.each([
    ["is not JSON", "-----BEGIN"],
    ["is not a key", "[]"],
    ["is larger than a key", `"${"a".repeat(9000)}"`],
  ])("refuses a file that %s", (_rule, text) => {
    const [problem] = problemsOf(buildWith(agent("[{ file: k }]"), () => ({ outcome: "read", text })));
    expect(problem).toContain("scopes/x.yaml:4:16: expected");
  });
});
