// The shipped packs: what they list, how bad each operation is, and that everything else is refused. The operations of
// the hosting provider are those of the incident.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { buildSchema, type GraphQLField, type GraphQLInputType, isInputObjectType, isNonNullType } from "graphql";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PROVIDER_SCHEMA } from "../../src/cli/demo-provider-schema.ts";
import { loadScopes } from "../../src/scopes/load.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import type { GatewayUpstream, GraphqlUpstream, HttpUpstream, Risk, ScopeSet } from "../../src/scopes/scope-set.ts";
import { RESOURCES, startTestGateway, type TestGateway } from "../support/gateway.ts";
import { isBehindGateway } from "../../src/scopes/behind-gateway.ts";

const SAMPLE = join(import.meta.dirname, "../../scopes");
const PACKS = readdirSync(join(SAMPLE, "upstreams")).map((file) => file.replace(/\.yaml$/, ""));
const RISKS: readonly Risk[] = ["read", "write", "destructive", "mints-credentials"];

let scopes: ScopeSet;

beforeAll(async () => {
  const loaded = await loadScopes(SAMPLE);
  if ("problems" in loaded) throw new Error(loaded.problems.map(formatProblem).join("\n"));
  scopes = loaded.set;
});

function packOf(name: string): GatewayUpstream {
  const upstream = scopes.upstreams.get(name);
  if (upstream === undefined || !isBehindGateway(upstream)) throw new Error(`${name} is not behind the gateway`);
  return upstream;
}

function graphqlPack(name: string): GraphqlUpstream {
  const upstream = packOf(name);
  if (upstream.type !== "graphql") throw new Error(`${name} is not of type graphql`);
  return upstream;
}

function httpPack(name: string): HttpUpstream {
  const upstream = packOf(name);
  if (upstream.type !== "http") throw new Error(`${name} is not of type http`);
  return upstream;
}

/** The riskiest that the operation can be. */
function worstOf(upstream: GatewayUpstream, actions: readonly string[]): Risk | undefined {
  const ranks = actions.map((action) => RISKS.indexOf(upstream.actions.get(action)?.risk ?? "mints-credentials"));
  return RISKS[Math.max(...ranks)];
}

describe("the packs", () => {
  it("are those of three providers", () => {
    expect(PACKS.toSorted()).toEqual(["github", "railway", "stripe"]);
  });

  it("load, and declare no action that no operation can ask for", () => {
    expect(PACKS.map((name) => packOf(name).name)).toEqual(PACKS);
    expect(scopes.warnings.filter((warning) => warning.includes("no operation has it"))).toEqual([]);
  });

  it("go to https origins alone, and to no private address", () => {
    for (const name of PACKS) {
      const { origins, addresses } = packOf(name);
      expect(origins.filter((origin) => !origin.startsWith("https://"))).toEqual([]);
      expect(addresses).toEqual([]);
    }
  });

  it("take neither a batch nor a stored document nor a document by GET", () => {
    expect(graphqlPack("railway").accepts).toEqual({ get: false, persisted: false, batch: 1 });
  });

  it("take a DELETE for destructive, and send no header or parameter that makes a call mean another", () => {
    const names = new Set<string>();
    for (const pack of ["github", "stripe"]) {
      const upstream = httpPack(pack);
      for (const { name, query, headers, meaning } of upstream.operations.all) {
        for (const one of [...query, ...headers]) names.add(one);
        if (name.startsWith("DELETE "))
          expect([name, worstOf(upstream, meaning.actions)]).toEqual([name, "destructive"]);
        if (name.startsWith("GET ")) expect([name, worstOf(upstream, meaning.actions)]).toEqual([name, "read"]);
      }
    }
    expect(names.size).toBeGreaterThan(10);
    const changing = ["stripe-account", "stripe-context", "x-http-method-override", "_method", "expand", "expand[]"];
    expect(changing.filter((name) => names.has(name))).toEqual([]);
  });
});

describe("the pack of the incident's provider", () => {
  const OF_THE_INCIDENT: Readonly<Record<string, Risk>> = {
    volumeDelete: "destructive",
    environmentDelete: "destructive",
    projectDelete: "destructive",
    serviceDelete: "destructive",
    volumeInstanceBackupDelete: "destructive",
    volumeInstanceBackupRestore: "destructive",
    volumeInstancePITRRestore: "destructive",
    variableDelete: "destructive",
    workspaceDelete: "destructive",
    sandboxDestroy: "destructive",
    projectScheduleDeleteForce: "destructive",
    environmentPatchCommit: "destructive",
    environmentStageChanges: "destructive",
    bucketCredentialsReset: "mints-credentials",
    apiTokenCreate: "mints-credentials",
    projectTokenCreate: "mints-credentials",
    generateShellToken: "mints-credentials",
  };
  for (const [name, risk] of Object.entries(OF_THE_INCIDENT)) {
    it(`knows ${name} as ${risk}`, () => {
      const railway = graphqlPack("railway");
      const operation = railway.operations.get(`mutation ${name}`);
      expect(worstOf(railway, operation?.meaning.actions ?? [])).toBe(risk);
    });
  }

  it("has both hosts", () => {
    expect(packOf("railway").origins).toEqual(["https://backboard.railway.app", "https://backboard.railway.com"]);
    expect(graphqlPack("railway").path).toBe("/graphql/v2");
  });

  const patches: Readonly<Record<string, readonly [patch: unknown, action: string]>> = {
    "a variable's value": [{ services: { s: { variables: { A: { value: "1" } } } } }, "environment:configure"],
    "a service that stays": [{ services: { s: { isDeleted: false } } }, "environment:configure"],
    "a deleted service": [{ services: { s: { isDeleted: true } } }, "environment:destroy"],
    "a deleted volume": [{ volumes: { v: { isDeleted: true } } }, "environment:destroy"],
    "a deletion deep inside, beside a value": [
      { services: { s: { variables: { A: { value: "1" } }, deploy: { x: [{ y: { isDeleted: true } }] } } } },
      "environment:destroy",
    ],
    "a deletion as a text": [{ services: { s: { isDeleted: "true" } } }, "environment:destroy"],
    "a deletion as a list": [{ services: { s: { isDeleted: [true] } } }, "environment:destroy"],
    "no replica at all": [{ services: { s: { deploy: { numReplicas: 0 } } } }, "environment:destroy"],
    "what nobody listed": [{ services: { s: { source: { image: "x" } } } }, "environment:destroy"],
    nothing: [{}, "environment:destroy"],
  };
  for (const [what, [patch, action]] of Object.entries(patches)) {
    it(`takes a patch with ${what} for ${action}`, () => {
      const { operations } = graphqlPack("railway");
      // A patch is JSON, as arguments are.
      const json = patch as Readonly<Record<string, never>>;
      const permissions = [{ action, resource: "railway:environment/e" }];
      const commit = operations.get("mutation environmentPatchCommit")?.meaning;
      expect(commit?.judge({ environmentId: "e", patch: json })).toEqual({ permissions });
      const stage = operations.get("mutation environmentStageChanges")?.meaning;
      expect(stage?.judge({ environmentId: "e", input: json })).toEqual({ permissions });
    });
  }
});

describe("the provider's schema", () => {
  const schema = buildSchema(PROVIDER_SCHEMA);
  let gateway: TestGateway;

  beforeAll(async () => {
    gateway = await startTestGateway();
  });
  afterAll(() => gateway.close());

  /** Some value that the type takes. */
  function valueOf(type: GraphQLInputType): unknown {
    if (isNonNullType(type)) return valueOf(type.ofType);
    if (!isInputObjectType(type)) return String(type) === "Int" ? 1 : "a";
    return Object.fromEntries(Object.entries(type.getFields()).map(([name, field]) => [name, valueOf(field.type)]));
  }

  function documentOf(kind: "query" | "mutation", { name, args }: GraphQLField<unknown, unknown>): object {
    const declared = args.map((one) => `$${one.name}: ${String(one.type)}`).join(", ");
    const given = args.map((one) => `${one.name}: $${one.name}`).join(", ");
    const variables = Object.fromEntries(args.map((one) => [one.name, valueOf(one.type)]));
    return { query: `${kind}(${declared}) { ${name}(${given}) }`, variables };
  }

  it("has no root field that the pack passes over: it is listed, or refused as unlisted and does not arrive", async () => {
    const { operations } = graphqlPack("railway");
    const grant = await gateway.grant([{ action: "volume:read", resource: RESOURCES.stagingVolume }]);
    const unlisted: string[] = [];
    for (const [kind, type] of [
      ["mutation", schema.getMutationType()],
      ["query", schema.getQueryType()],
    ] as const) {
      for (const field of Object.values(type?.getFields() ?? {})) {
        const answer = await gateway.post(grant.credential.value, documentOf(kind, field));
        const isListed = operations.has(`${kind} ${field.name}`);
        expect([field.name, answer.error === "operation_unlisted"]).toEqual([field.name, !isListed]);
        expect(answer.error).not.toBeNull();
        if (!isListed) unlisted.push(field.name);
      }
    }
    expect(unlisted).toEqual([
      "customDomainDelete",
      "volumeCreate",
      "volumeInstanceBackupCreate",
      "service",
      "volumeInstance",
      "customDomain",
    ]);
    expect(gateway.reached()).toEqual([]);
  });
});
