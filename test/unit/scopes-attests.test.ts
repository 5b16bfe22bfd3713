// Agents that may attest backups, and operations that may be sent again: what documents say of both.

import { describe, expect, it } from "vitest";
import type { Resource } from "../../src/scopes/scope-set.ts";
import { buildWith, graphqlText, httpText, newKey, problemsOf, setOf } from "../support/scopes-text.ts";

const agent = (lines: string) =>
  `kind: Agent\nname: keeper\nlabels: { environment: staging }\nkeys: [${newKey()}]\n${lines}`;
const attestsOf = (lines: string) => {
  const found = setOf(buildWith(agent(lines))).principals.get("keeper");
  if (found?.kind !== "Agent") throw new Error("expected the agent");
  return found.attests;
};
const resource = (labels: Readonly<Record<string, readonly string[]>>): Resource => ({
  id: "shop:volume/z",
  upstream: "shop",
  labels,
  environments: [],
});

describe("an agent", () => {
  it("attests nothing unless it says so (rule 25)", () => {
    expect(attestsOf("owner: ada")).toBe(null);
  });

  it("attests resources of which all values of each label are listed, as a role covers them (rule 4)", () => {
    const attests = attestsOf("owner: ada\nattests: { type: volume, account: [a, b] }");
    expect(attests?.(resource({ type: ["volume"], account: ["a"] }))).toBe(true);
    expect(attests?.(resource({ type: ["volume"], account: ["b", "a"] }))).toBe(true);
    expect(attests?.(resource({ type: ["volume"], account: ["a", "c"] }))).toBe(false);
    expect(attests?.(resource({ type: ["volume"] }))).toBe(false);
    expect(attests?.(resource({ type: ["bucket"], account: ["a"] }))).toBe(false);
  });

  it.each([
    ["everything, by an empty selector", "owner: ada\nattests: {}", "found an empty selector"],
    ["a label without values", "owner: ada\nattests: { type: [] }", "attests.type"],
    ["patterns", "owner: ada\nattests: ['shop:volume/*']", "attests: expected a map"],
    ["yes", "owner: ada\nattests: true", "attests: expected a map"],
    ["without an owner", "attests: { type: volume }", "expected an `owner` beside it"],
    ["for an owner who is not declared", "owner: eve\nattests: { type: volume }", 'a declared person, found "eve"'],
    ["of an undeclared upstream", "owner: ada\nattests: { upstream: [shop, mars] }", 'upstream, found "mars"'],
    ["of an undeclared environment", "owner: ada\nattests: { environment: mars }", 'environment, found "mars"'],
  ])("cannot attest %s", (_rule, lines, message) => {
    const [problem, ...others] = problemsOf(buildWith(agent(lines)));
    expect(problem).toMatch(/^scopes\/x\.yaml:[56]:\d+: /);
    expect(problem).toContain(message);
    expect(others).toEqual([]);
  });

  it("changes the set's digest with what it attests", () => {
    const key = newKey();
    const digest = (lines: string) => setOf(buildWith(agent(lines).replace(/\[\{.*\}\]/, `[${key}]`))).digest;
    const digests = ["owner: ada", "owner: ada\nattests: { type: volume }", "owner: ada\nattests: { type: bucket }"];
    expect(new Set(digests.map(digest)).size).toBe(3);
  });
});

describe("an operation", () => {
  const http = (lines: string) =>
    httpText({ operations: `[{ call: DELETE /a, action: thing:delete, resource: thing/main${lines} }]` });
  const graphql = (lines: string) =>
    graphqlText({ operations: `[{ mutation: remove, action: thing:delete, resource: thing/main${lines} }]` });
  const isIdempotent = (text: string) => {
    const upstreams = setOf(buildWith(text)).upstreams;
    const [web, graph] = [upstreams.get("web"), upstreams.get("graph")];
    if (web?.type === "http") return web.operations.all[0]?.idempotent;
    return graph?.type === "graphql" ? graph.operations.get("mutation remove")?.idempotent : undefined;
  };

  it.each([
    ["http", http],
    ["graphql", graphql],
  ])("of %s is sent once unless it says that twice does the same", (_type, operation) => {
    expect(isIdempotent(operation(""))).toBe(false);
    expect(isIdempotent(operation(", idempotent: false"))).toBe(false);
    expect(isIdempotent(operation(", idempotent: true"))).toBe(true);
  });

  it.each(["yes", "1", "~", "[]"])("does not take %s for that", (word) => {
    for (const operation of [http, graphql]) {
      expect(problemsOf(buildWith(operation(`, idempotent: ${word}`)))).toEqual([
        expect.stringContaining("operations.0.idempotent: expected true or false"),
      ]);
    }
  });
});
