// Patterns and selectors against naive references.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compilePattern } from "../../src/core/pattern.ts";
import {
  compileAgentSelector,
  compileCoverage,
  createCatalogue,
  toLabels,
  toResource,
} from "../../src/scopes/catalogue.ts";
import type { Agent, Upstream } from "../../src/scopes/scope-set.ts";

/** All ways to read a pattern, the slow way: `*` takes one or more characters that are not separators. */
function matchesNaively(pattern: string, text: string): boolean {
  if (pattern === "") return text === "";
  const [head, ...rest] = pattern;
  if (head !== "*") return text.startsWith(head ?? "") && matchesNaively(rest.join(""), text.slice(1));
  for (let taken = 1; taken <= text.length && !":/".includes(text.charAt(taken - 1)); taken++) {
    if (matchesNaively(rest.join(""), text.slice(taken))) return true;
  }
  return false;
}

const patternText = fc
  .array(fc.constantFrom("a", "b", ":", "/", "*", "-", "."), { maxLength: 10 })
  .map((parts) => parts.join(""))
  .filter((text) => compilePattern(text) !== null);
const candidate = fc
  .array(fc.constantFrom("a", "b", ":", "/", "-", "."), { maxLength: 10 })
  .map((parts) => parts.join(""));

describe("a pattern", () => {
  it("matches what a naive reading matches", () => {
    fc.assert(
      fc.property(
        patternText,
        candidate,
        (pattern, text) => compilePattern(pattern)?.matches(text) === matchesNaively(pattern, text),
      ),
      {
        numRuns: 5000,
      },
    );
  });

  it("never crosses ':' or '/': what it matches has the same separators in the same order", () => {
    const separators = (text: string) => text.replace(/[^:/]/g, "");
    fc.assert(
      fc.property(patternText, candidate, (pattern, text) => {
        if (compilePattern(pattern)?.matches(text) === true) expect(separators(text)).toBe(separators(pattern));
      }),
      { numRuns: 5000 },
    );
  });

  it("matches what is made from it by filling its wildcards", () => {
    const filler = fc
      .array(fc.constantFrom("a", "b", "-", "."), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(patternText, fc.array(filler, { minLength: 8, maxLength: 8 }), (pattern, fillers) => {
        let next = 0;
        const filled = pattern.replace(/\*/g, () => fillers[next++] ?? "a");
        expect(compilePattern(pattern)?.matches(filled)).toBe(true);
      }),
    );
  });
});

const value = fc.constantFrom("a", "b", "c");
const values = fc.uniqueArray(value, { minLength: 1, maxLength: 3 });
const name = fc.constantFrom("team", "tier", "zone");
const labels = fc.dictionary(name, values, { maxKeys: 3 });
const selector = fc.dictionary(name, fc.oneof(value, values), { minKeys: 1, maxKeys: 3 });
const listed = (one: string | readonly string[]): readonly string[] => (typeof one === "string" ? [one] : one);

describe("a selector", () => {
  it("of agents matches when every label has one of the values", () => {
    fc.assert(
      fc.property(selector, labels, (wanted, had) => {
        const agent: Agent = {
          kind: "Agent",
          name: "x",
          keys: [],
          owner: null,
          labels: toLabels(had),
          environments: [],
          attests: null,
        };
        const expected = Object.entries(wanted).every(([label, allowed]) =>
          listed(allowed).some((one) => had[label]?.some((held) => held === one)),
        );
        expect(compileAgentSelector(wanted)(agent)).toBe(expected);
      }),
    );
  });

  it("of resources matches when every label is there and has only such values", () => {
    fc.assert(
      fc.property(selector, labels, (wanted, had) => {
        const resource = toResource({ kind: "Resource", id: "shop:volume/x", labels: had });
        const expected = Object.entries(wanted).every(
          ([label, allowed]) => had[label]?.every((one) => listed(allowed).includes(one)) ?? false,
        );
        expect(compileCoverage(wanted)(resource)).toBe(expected);
      }),
    );
  });

  it("that is given another label covers no more", () => {
    fc.assert(
      fc.property(selector, labels, name, values, (wanted, had, label, allowed) => {
        const resource = toResource({ kind: "Resource", id: "shop:volume/x", labels: had });
        fc.pre(!(label in wanted));
        if (compileCoverage({ ...wanted, [label]: allowed })(resource))
          expect(compileCoverage(wanted)(resource)).toBe(true);
      }),
    );
  });
});

describe("breadth", () => {
  const upstream = (upstreamName: string, actions: readonly string[]): Upstream => ({
    name: upstreamName,
    type: "service",
    audience: `https://${upstreamName}`,
    environment: "e",
    actions: new Map(actions.map((action) => [action, { risk: "read" }])),
  });
  const upstreams = new Map([
    ["shop", upstream("shop", ["x:read", "x:write"])],
    ["bank", upstream("bank", ["x:read"])],
  ]);
  const id = fc
    .tuple(fc.constantFrom("shop", "bank"), fc.constantFrom("v", "w"), fc.constantFrom("a", "ab", "b"))
    .map(([u, t, n]) => `${u}:${t}/${n}`);
  const resources = fc.uniqueArray(fc.record({ id, labels }), { selector: (one) => one.id, maxLength: 12 });
  const pattern = fc.constantFrom("shop:v/*", "*:*/a", "bank:w/b", "*:v/a*", "shop:*/*");
  const permission = fc.record({
    actions: fc.uniqueArray(fc.constantFrom("x:read", "x:write"), { minLength: 1 }),
    resources: fc.oneof(selector, fc.array(pattern, { minLength: 1, maxLength: 3 })),
  });

  it("is the number of distinct pairs, counted one by one", () => {
    fc.assert(
      fc.property(resources, fc.array(permission, { minLength: 1, maxLength: 4 }), (documents, permissions) => {
        const made = documents.map((one) => toResource({ kind: "Resource", ...one }));
        const pairs = new Set<string>();
        for (const { actions, resources: covered } of permissions) {
          for (const resource of made.filter(compileCoverage(covered))) {
            for (const action of actions)
              if (upstreams.get(resource.upstream)?.actions.has(action)) pairs.add(`${action} ${resource.id}`);
          }
        }
        const catalogue = createCatalogue(made, upstreams);
        const counted = permissions.map((one) => ({
          actions: one.actions,
          covered: catalogue.coverage(one.resources),
        }));
        expect(catalogue.countPairs(counted)).toBe(pairs.size);
        expect(catalogue.countPairs(counted)).toBe(pairs.size);
      }),
      { numRuns: 1000 },
    );
  });
});
