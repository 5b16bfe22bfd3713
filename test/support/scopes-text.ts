// Scopes from text, for tests: a small working set, and what becomes of it when a document is added or changed.

import { generateKeyPairSync } from "node:crypto";
import { type BuildResult, buildScopeSet } from "../../src/scopes/build.ts";
import type { FileRead, ReadNamedFile } from "../../src/scopes/named-files.ts";
import { parseDocuments, type SourceFile } from "../../src/scopes/parse.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import type { ScopeSet } from "../../src/scopes/scope-set.ts";

/** A fresh public P-256 key as YAML flow. */
export function newKey(): string {
  return JSON.stringify(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" }));
}

export function newEdKey(): string {
  return JSON.stringify(generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }));
}

const ENVIRONMENTS = `
kind: Environment
name: staging
protected: false
---
kind: Environment
name: production
`;

const UPSTREAMS = `
kind: Upstream
name: shop
type: service
audience: https://shop.example
environment: staging
actions:
  volume:read: { risk: read }
  volume:delete: { risk: destructive }
  key:create: { risk: mints-credentials }
---
kind: Upstream
name: bank
type: service
audience: https://bank.example
environment: production
actions:
  account:read: { risk: read }
  account:close: { risk: destructive }
`;

const PEOPLE = `
kind: Person
name: ada
powers: [approve]
teams: [oncall]
keys: [${newKey()}]
---
kind: Agent
name: coder
owner: ada
labels: { environment: staging, team: [platform, tools] }
keys: [${newEdKey()}]
`;

const RESOURCES = `
kind: Resource
id: shop:volume/a
labels: { environment: staging }
---
kind: Resource
id: bank:account/b
labels: { environment: production }
`;

type Lines = Readonly<Record<string, string>>;

/** One document from top-level keys; an empty value leaves its key out. */
function documentText(keys: Lines): string {
  return Object.entries(keys)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}: ${value}`)
    .join("\n");
}

const GATEWAY = {
  kind: "Upstream",
  credential: '{ secret: root, place: { header: authorization, prefix: "Bearer " } }',
  actions: "{ thing:read: { risk: read }, thing:change: { risk: write }, thing:delete: { risk: destructive } }",
};

/** An upstream of type http that is fine, called `web`; its keys begin at line 1, in this order. */
export function httpText(lines: Lines = {}): string {
  return documentText({
    ...GATEWAY,
    name: "web",
    type: "http",
    origins: "[https://web.example]",
    operations:
      "[{ call: 'GET /things/{id}', action: thing:read, resource: 'thing/{id}' }, { call: 'PATCH /things/{id}', action: thing:change, resource: 'thing/{id}', body: json }, { call: 'DELETE /things/{id}', action: thing:delete, resource: 'thing/{id}' }]",
    ...lines,
  });
}

/** The same of type graphql, called `graph`. */
export function graphqlText(lines: Lines = {}): string {
  return documentText({
    ...GATEWAY,
    name: "graph",
    type: "graphql",
    origins: "[https://graph.example]",
    path: "/graphql",
    operations:
      "[{ query: thing, action: thing:read, resource: 'thing/{id}', select: 'id name' }, { mutation: change, action: thing:change, resource: 'thing/{id}' }, { mutation: remove, action: thing:delete, resource: 'thing/{id}' }]",
    ...lines,
  });
}

export function resourceText(id: string, labels: string): string {
  return documentText({ kind: "Resource", id, labels });
}

/** A role that is fine; `lines` replaces or adds top-level keys. */
export function roleText(lines: Lines = {}): string {
  return documentText({
    kind: "Role",
    name: "reader",
    agents: "{ team: platform }",
    environments: "[staging]",
    permissions: "[{ actions: [volume:read], resources: { type: volume } }]",
    ...lines,
  });
}

const ROLES = roleText();

export function baseFiles(): SourceFile[] {
  return [
    { path: "scopes/environments.yaml", text: ENVIRONMENTS },
    { path: "scopes/upstreams.yaml", text: UPSTREAMS },
    { path: "scopes/people.yaml", text: PEOPLE },
    { path: "scopes/resources.yaml", text: RESOURCES },
    { path: "scopes/roles.yaml", text: ROLES },
  ];
}

export const noKeyFiles = (): FileRead => ({ outcome: "missing" });

export function buildFiles(files: readonly SourceFile[], readFile: ReadNamedFile = noKeyFiles): BuildResult {
  const parsed = parseDocuments(files, readFile);
  return "problems" in parsed ? parsed : buildScopeSet(parsed.documents);
}

/** The working set and one more file, `scopes/x.yaml`. */
export function buildWith(text: string, readFile: ReadNamedFile = noKeyFiles): BuildResult {
  return buildFiles([...baseFiles(), { path: "scopes/x.yaml", text }], readFile);
}

/** Formatted problems; empty when there is a set. */
export function problemsOf(result: BuildResult): readonly string[] {
  return "problems" in result ? result.problems.map(formatProblem) : [];
}

export function setOf(result: BuildResult): ScopeSet {
  if ("problems" in result) throw new Error(`expected a set, found problems:\n${problemsOf(result).join("\n")}`);
  return result.set;
}
