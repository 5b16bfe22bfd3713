// The wire contract as a whole: schemas that refuse what they do not know, and an OpenAPI document that hangs together.

import { describe, expect, it } from "vitest";
import * as z from "zod";
import { makeOpenApi } from "../../src/api/openapi.ts";
import type { Route } from "../../src/api/route.ts";
import { ROUTES } from "../../src/api/routes.ts";

const routes = Object.entries<Route>(ROUTES);
const inputs = routes.flatMap(([name, { body, query }]): [string, z.ZodType][] => [
  ...(body === null ? [] : ([[`the body of ${name}`, body]] satisfies [string, z.ZodType][])),
  ...(query === null ? [] : ([[`the query of ${name}`, query]] satisfies [string, z.ZodType][])),
]);

const GRANT = "grt_01M81YHKETEE06SYDBSDEXAGC8";
const HOLD = "hld_01M81YHKETEE06SYDBSDEXAGC8";
const permissions = [{ action: "volume:read", resource: "shop:volume/1" }];
/** A good value of every input that there is; a new route needs one here. */
const GOOD: Record<string, Record<string, unknown>> = {
  "the body of requestGrant": { task: "T-1", permissions, role: "editor", ttl: "5m", reason: "r", dryRun: true },
  "the query of listGrants": {
    agent: "coder",
    task: "T-1",
    role: "editor",
    environment: "staging",
    upstream: "shop",
    status: "active",
    after: GRANT,
    limit: "5",
  },
  "the query of listUnconfirmed": { after: GRANT },
  "the query of readGrant": { wait: "30", while: "held" },
  "the body of endGrant": { reason: "r" },
  "the body of decide": { agent: "coder", permissions, role: "editor", ttl: "5m" },
  "the body of revoke": { target: { task: "T-1" }, reason: "r" },
  "the body of reopen": { reason: "r" },
  "the body of freeze": { reason: "r" },
  "the body of unfreeze": { reason: "r" },
  "the query of readRecord": { after: "0", limit: "10" },
  "the body of activateScopes": { digest: "a".repeat(64), replaces: "b".repeat(64), reason: "r" },
  "the body of acknowledgeStore": { reason: "r" },
  "the body of rotateKeys": { compromised: true },
  "the body of putSecret": { value: "a root key", origins: ["https://api.example.com"] },
  "the query of listHolds": { agent: "coder", task: "T-1", upstream: "shop", state: "live", after: HOLD, limit: "10" },
  "the query of readHold": { wait: "30" },
  "the body of signHold": { decision: "approve", signature: { kind: "jws", value: "a.b.c" } },
  "the body of cancelHold": { reason: "r" },
  "the body of attest": {
    payloadType: "application/vnd.in-toto+json",
    payload: "e30=",
    signatures: [{ keyid: "k", sig: "c2ln" }],
  },
  "the body of addCanary": { like: "github", note: "in the old repository" },
};

/** Every path to an object inside a value, the value itself among them. */
function objectsIn(value: unknown, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, child]) =>
    objectsIn(child, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return Array.isArray(value) ? inner : [path, ...inner];
}

/** A copy in which the object at this path has one field more. */
function withUnknown(value: unknown, path: readonly (string | number)[]): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return { ...membersOf(value), unknownField: 1 };
  if (Array.isArray(value)) return value.map((item: unknown, i) => (i === step ? withUnknown(item, rest) : item));
  const members = membersOf(value);
  return { ...members, [step]: withUnknown(members[step], rest) };
}

describe("what goes in", () => {
  it("is known to this test, all of it", () => {
    expect(inputs.map(([name]) => name).toSorted()).toEqual(Object.keys(GOOD).toSorted());
  });

  it.each(inputs)("%s is taken when it is good, and refused with an unknown field at any depth", (name, schema) => {
    const good = GOOD[name];
    expect(schema.safeParse(good).error?.issues ?? []).toEqual([]);
    for (const path of objectsIn(good)) {
      const issues = schema.safeParse(withUnknown(good, path)).error?.issues ?? [];
      expect(
        issues.map(({ code }) => code),
        JSON.stringify(path),
      ).toContain("unrecognized_keys");
    }
  });

  it.each(inputs)("%s is refused when it is no object", (_name, schema) => {
    for (const value of [null, [], "x", 7, true, undefined]) expect(schema.safeParse(value).success).toBe(false);
  });

  it("never repeats a value in a message", () => {
    const mark = "sk_live_marker *";
    for (const [name, schema] of inputs) {
      const bad = Object.fromEntries(Object.keys(GOOD[name] ?? {}).map((key) => [key, mark]));
      const messages = (schema.safeParse(bad).error?.issues ?? []).map(({ message }) => message);
      expect(messages.join("\n"), name).not.toContain("sk_live_marker");
    }
  });

  it("names exactly one target of a revocation", () => {
    const target = (value: unknown) => ROUTES.revoke.body.safeParse({ target: value, reason: "r" }).success;
    for (const good of [
      { grant: GRANT },
      { agent: "a" },
      { task: "t" },
      { role: "r" },
      { environment: "e" },
      { upstream: "u" },
      { everything: true },
    ]) {
      expect(target(good)).toBe(true);
    }
    for (const bad of [
      {},
      { agent: "a", role: "r" },
      { everything: false },
      { everything: "true" },
      { agent: "*" },
      { grant: "grt_x" },
      { agent: null },
      { agent: ["a"] },
    ]) {
      expect(target(bad), JSON.stringify(bad)).toBe(false);
    }
  });

  it("is bounded: 32 permissions, pages of 500 and 2,000, a wait of 60 s", () => {
    const many = (count: number) => ({ task: "t", permissions: Array.from({ length: count }, () => permissions[0]) });
    expect([32, 33, 0].map((count) => ROUTES.requestGrant.body.safeParse(many(count)).success)).toEqual([
      true,
      false,
      false,
    ]);
    expect(
      ["500", "501", "0", "-1", "1.5", "0x10", "", " 1", "1e2", "01"].map(
        (limit) => ROUTES.listGrants.query.safeParse({ limit }).success,
      ),
    ).toEqual([true, ...Array.from({ length: 9 }, () => false)]);
    expect(["2000", "2001"].map((limit) => ROUTES.readRecord.query.safeParse({ limit }).success)).toEqual([
      true,
      false,
    ]);
    expect(["60", "61", "-1"].map((wait) => ROUTES.readGrant.query.safeParse({ wait }).success)).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("the table of routes", () => {
  it("has each method and path once, and only the health checks, key sets and its own description are public", () => {
    const places = routes.map(([, { method, path }]) => `${method} ${path}`);
    expect(new Set(places).size).toBe(places.length);
    const open = routes.filter(([, { who }]) => who === null).map(([name]) => name);
    expect(open.toSorted()).toEqual(["health", "keySet", "metrics", "openapi", "ready", "recordKeySet"]);
    for (const [, { who, path }] of routes) if (who !== null) expect(path).toMatch(/^\/v1\//);
  });

  it("demands something of everyone else: a route that names nobody would admit nobody, and none is for all", () => {
    for (const [name, { who }] of routes) {
      if (who === null) continue;
      expect(who.agents || who.services || who.powers.length > 0, name).toBe(true);
      expect(who.agents && who.services, name).toBe(false);
    }
  });

  it("reads with GET alone: what changes something takes no GET", () => {
    for (const [name, { method, body }] of routes) if (method === "GET") expect(body, name).toBeNull();
  });
});

/** As much of OpenAPI 3.1 as is used here. */
const Operation = z.strictObject({
  operationId: z.string(),
  summary: z.string().min(1),
  description: z.string().min(1),
  parameters: z.array(
    z.strictObject({
      name: z.string(),
      in: z.enum(["path", "query"]),
      required: z.boolean(),
      schema: z.looseObject({}),
    }),
  ),
  requestBody: z
    .strictObject({
      required: z.boolean(),
      content: z.strictObject({ "application/json": z.strictObject({ schema: z.looseObject({}) }) }),
    })
    .optional(),
  responses: z.record(
    z.string(),
    z.strictObject({ description: z.string().min(1), content: z.record(z.string(), z.looseObject({})) }),
  ),
  security: z.array(z.record(z.string(), z.array(z.string()))),
});
const Document = z.looseObject({
  openapi: z.literal("3.1.0"),
  paths: z.record(z.string().startsWith("/"), z.record(z.enum(["get", "post", "put", "delete"]), Operation.optional())),
});

describe("the OpenAPI document", () => {
  const document = Document.parse(JSON.parse(JSON.stringify(makeOpenApi("1.2.3"))));
  const at = (pointer: string): unknown => {
    let value: unknown = document;
    for (const step of pointer.replace(/^#\//, "").split("/"))
      value = membersOf(value)[step.replaceAll("~1", "/").replaceAll("~0", "~")];
    return value;
  };
  const walk = (value: unknown): readonly Record<string, unknown>[] => {
    if (typeof value !== "object" || value === null) return [];
    const inner = Object.values(value).flatMap(walk);
    return Array.isArray(value) ? inner : [membersOf(value), ...inner];
  };
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).flatMap(([method, operation]) =>
      operation === undefined ? [] : [{ path, method, operation }],
    ),
  );

  it("is of version 3.1 and has an operation for each route", () => {
    expect(document).toMatchObject({ openapi: "3.1.0", info: { title: "Valetkey", version: "1.2.3" } });
    const described = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(described.toSorted()).toEqual(routes.map(([, { method, path }]) => `${method} ${path}`).toSorted());
  });

  it("gives each operation an id of its own", () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(Object.keys(ROUTES).toSorted());
  });

  it("resolves every reference inside itself", () => {
    const references = walk(document).flatMap((node) => (typeof node["$ref"] === "string" ? [node["$ref"]] : []));
    expect(references.length).toBeGreaterThan(5);
    for (const reference of references) {
      expect(reference).toMatch(/^#\//);
      expect(at(reference), reference).toBeTypeOf("object");
    }
  });

  it("declares every parameter of a path, once, and no other", () => {
    for (const { path, operation } of operations) {
      const declared = operation.parameters.filter((one) => one.in === "path").map(({ name }) => name);
      expect(declared).toEqual([...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name));
      for (const one of operation.parameters) expect(one.required).toBe(one.in === "path");
    }
  });

  it("describes every query parameter of a route", () => {
    for (const [name, { query }] of routes) {
      if (query === null) continue;
      const described = operations.find(({ operation }) => operation.operationId === name)?.operation.parameters ?? [];
      const declared = described.filter((one) => one.in === "query").map((one) => one.name);
      expect(declared.toSorted(), name).toEqual(Object.keys(GOOD[`the query of ${name}`] ?? {}).toSorted());
    }
  });

  it("says of each operation whether it needs a proof, and that it answers problems then", () => {
    expect(at("#/components/securitySchemes/proof")).toMatchObject({ type: "http", scheme: "bearer" });
    for (const { operation } of operations) {
      const { who } = routes.find(([name]) => name === operation.operationId)?.[1] ?? { who: null };
      expect(operation.security).toEqual(who === null ? [] : [{ proof: [] }]);
      expect(Object.keys(operation.responses)).not.toEqual([]);
      if (who !== null) expect(operation.responses["default"]?.content).toHaveProperty(["application/problem+json"]);
    }
  });

  it("closes every object that goes in", () => {
    let closed = 0;
    for (const { operation } of operations) {
      for (const node of walk(operation.requestBody)) {
        if (node["type"] !== "object") continue;
        closed++;
        expect(node["additionalProperties"], operation.operationId).toBe(false);
      }
    }
    expect(closed).toBeGreaterThan(8);
  });
});

/** Own members alone: a pointer to `constructor` must not resolve. */
function membersOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
