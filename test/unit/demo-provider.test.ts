// The stand-in of the hosting provider does what it is asked by whoever has the root key, and keeps what arrived.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openProvider, type Provider, PROVIDER_PATH } from "../../src/cli/demo-provider.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { type Asker, createLabelSource } from "../../src/gateway/resolve.ts";
import { expression, QUIET, volumes as volumesUpstream } from "../support/resolving-upstream.ts";
import { makeClock } from "../support/signed-feed.ts";

const ROOT = "root-key-of-the-demo";
const { environments, services, volumes } = PROVIDER;

let provider: Provider;
beforeEach(async () => {
  provider = await openProvider({ rootToken: ROOT });
});
afterEach(() => provider.close());

async function send(body: unknown, { token = ROOT, path = PROVIDER_PATH } = {}) {
  const response = await fetch(`${provider.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

describe("the stand-in of the provider", () => {
  it("deletes a volume for whoever has the root key: it is gone with its backups", async () => {
    const query = `mutation { volumeDelete(volumeId: "${volumes.production}") }`;
    expect(await send({ query })).toEqual({ status: 200, body: { data: { volumeDelete: true } } });
    expect([...provider.account.volumes.keys()]).toEqual([volumes.staging, volumes.shared]);
    expect((await send({ query })).body).toMatchObject({ data: null, errors: [{ message: "Volume not found" }] });
  });

  it("does nothing without it, and keeps that it was asked", async () => {
    const query = `mutation { volumeDelete(volumeId: "${volumes.production}") }`;
    expect((await send({ query }, { token: "another" })).status).toBe(401);
    expect((await send({ query }, { path: "/graphql/v1" })).status).toBe(404);
    expect(provider.account.volumes.size).toBe(3);
    expect(provider.calls).toMatchObject([
      { authorized: false, method: "POST", path: "/graphql/v2", body: JSON.stringify({ query }) },
      { authorized: true, path: "/graphql/v1", headers: { authorization: `Bearer ${ROOT}` } },
    ]);
  });

  it("takes GET and batches, as lenient servers do", async () => {
    const query = `mutation { volumeDelete(volumeId: "${volumes.staging}") }`;
    const url = `${provider.url}${PROVIDER_PATH}?query=${encodeURIComponent(query)}`;
    await fetch(url, { headers: { authorization: `Bearer ${ROOT}` } });
    const both = [volumes.production, volumes.shared].map((id) => ({ query: query.replace(volumes.staging, id) }));
    expect((await send(both)).body).toHaveLength(2);
    expect(provider.account.volumes.size).toBe(0);
  });

  it("adds and removes custom domains", async () => {
    const input = {
      domain: "shop.example",
      projectId: PROVIDER.project,
      environmentId: environments.staging,
      serviceId: services.web,
    };
    const query = "mutation($input: CustomDomainCreateInput!) { customDomainCreate(input: $input) { id domain } }";
    const created = await send({ query, variables: { input } });
    expect(created.body).toMatchObject({ data: { customDomainCreate: { domain: "shop.example" } } });
    expect([...provider.account.domains.values()]).toMatchObject([{ environmentId: environments.staging }]);
    const [id] = provider.account.domains.keys();
    await send({ query: "mutation($id: String!) { customDomainDelete(id: $id) }", variables: { id } });
    expect(provider.account.domains.size).toBe(0);
  });

  it("deletes by a patch that has no such word in its name, staged too", async () => {
    const patch = (id: string) => ({ volumes: { [id]: { isDeleted: true } } });
    const environmentId = environments.staging;
    await send({
      query: "mutation($e: String!, $p: EnvironmentConfig) { environmentPatchCommit(environmentId: $e, patch: $p) }",
      variables: { e: environmentId, p: patch(volumes.production) },
    });
    await send({
      query: `mutation($e: String!, $p: EnvironmentConfig!) { environmentStageChanges(environmentId: $e, input: $p) { id } }`,
      variables: { e: environmentId, p: patch(volumes.shared) },
    });
    expect([...provider.account.volumes.keys()]).toEqual([volumes.staging, volumes.shared]);
    await send({ query: `mutation { environmentPatchCommitStaged(environmentId: "${environmentId}") }` });
    expect([...provider.account.volumes.keys()]).toEqual([volumes.staging]);
  });

  it.each([
    ["projectDelete", PROVIDER.project],
    ["projectScheduleDeleteForce", PROVIDER.project],
    ["workspaceDelete", PROVIDER.workspace],
  ])("leaves nothing after %s", async (field, id) => {
    const { body } = await send({ query: `mutation { ${field}(id: "${id}") }` });
    expect(body).toEqual({ data: { [field]: true } });
    expect(provider.account.volumes.size + provider.account.environments.size).toBe(0);
  });

  it("only schedules what is to be deleted later, and makes keys for whoever asks", async () => {
    await send({ query: `mutation { projectScheduleDelete(id: "${PROVIDER.project}") }` });
    await send({ query: `mutation { apiTokenCreate(input: { name: "for later" }) }` });
    expect(provider.account.volumes.size).toBe(3);
    expect(provider.account.minted).toEqual(["for later"]);
  });

  it("pages its lists", async () => {
    const query = `query($id: ID!, $after: String) { node(id: $id) { ... on Volume {
      volumeInstances(first: 1, after: $after) { edges { node { environmentId } } pageInfo { hasNextPage } } } } }`;
    const page = (environmentId: string, hasNextPage: boolean) => {
      return {
        data: { node: { volumeInstances: { edges: [{ node: { environmentId } }], pageInfo: { hasNextPage } } } },
      };
    };
    const first = await send({ query, variables: { id: volumes.shared } });
    expect(first.body).toEqual(page(environments.staging, true));
    const after = provider.account.volumes.get(volumes.shared)?.instances[0]?.id;
    const second = await send({ query, variables: { id: volumes.shared, after } });
    expect(second.body).toEqual(page(environments.production, false));
  });

  it("gives the root key the other environment's variables, on the way from a volume it may see", async () => {
    const asked = `{ variables(environmentId: "${environments.production}", projectId: "${PROVIDER.project}")
      node(id: "${volumes.staging}") { ... on Volume { project { environments { edges { node { name } } } } } } }`;
    expect((await send({ query: asked })).body).toMatchObject({
      data: {
        variables: { DATABASE_URL: expect.stringContaining("postgres://") },
        node: {
          project: { environments: { edges: [{ node: { name: "staging" } }, { node: { name: "production" } }] } },
        },
      },
    });
  });

  it("answers the look-up of a volume's environments, several too, and knows what it does not have", async () => {
    const ask: Asker = async (_, { path, headers, body }) => {
      const response = await fetch(`${provider.url}${path}`, {
        method: "POST",
        headers: [
          ...headers.map(([name, value]): [string, string] => [name, value]),
          ["authorization", `Bearer ${ROOT}`],
        ],
        body: Buffer.from(body ?? new Uint8Array()),
      });
      return { status: response.status, headers: new Map(response.headers), body: await response.bytes() };
    };
    const upstream = volumesUpstream(
      {
        request: {
          kind: "graphql",
          query: `query($id: ID!) { node(id: $id) { id ... on Volume { volumeInstances {
            edges { node { environmentId } } pageInfo { hasNextPage } } } } }`,
        },
        repeats: [["id", expression("node.id")]],
        labels: [["environment", expression("node.volumeInstances.edges[].node.environmentId")]],
        more: expression("node.volumeInstances.pageInfo.hasNextPage"),
      },
      { environmentIds: new Map(Object.entries(environments).map(([name, id]) => [id, name])) },
    );
    const source = createLabelSource({ ask, clock: makeClock() });
    const environmentsOf = async (id: string) => {
      const found = await source.labelsOf(upstream, `cloud:volume/${id}`, QUIET);
      return found?.outcome === "resolved" ? found.labels["environment"] : found?.outcome;
    };
    expect(await environmentsOf(volumes.staging)).toEqual(["staging"]);
    expect(await environmentsOf(volumes.shared)).toEqual(["staging", "production"]);
    expect(await environmentsOf("no-such-volume")).toBe("unknown");
    // Something else under that id: it has no instances to be asked for pages.
    await expect(environmentsOf(services.web)).rejects.toMatchObject({ code: "upstream_failed" });
  });
});
