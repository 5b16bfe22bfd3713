// A GraphQL client, unmodified, through the shipped Railway pack: it works by changing its URL and its key, and shows its
// user why a call was refused.

import { ClientError, GraphQLClient } from "graphql-request";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { RESOURCES, ROOT_KEY, startTestGateway, type TestGateway } from "../support/gateway.ts";
import { holds } from "./rest-broker.ts";

const { environments, project, services, volumes } = PROVIDER;
const VOLUME = `query Volume($id: ID!, $first: Int = 10) {
  node(id: $id) { ... on Volume { id name ...Instances } }
}
fragment Instances on Volume { volumeInstances(first: $first) { edges { node { id environmentId } } } }`;
const DOMAIN = `mutation Domain($input: CustomDomainCreateInput!) {
  created: customDomainCreate(input: $input) { id domain }
}`;
const input = {
  domain: "shop.example",
  projectId: project,
  environmentId: environments.staging,
  serviceId: services.web,
};

let gateway: TestGateway;
let reader: string;
let editor: string;
/** What reached the provider before the test. */
let before = 0;

const reached = () => gateway.reached().slice(before);

function clientWith(credential: string): GraphQLClient {
  return new GraphQLClient(gateway.endpoint, { headers: { authorization: `Bearer ${credential}` } });
}

async function refusalOf(promise: Promise<unknown>): Promise<ClientError> {
  const thrown: unknown = await promise.then(
    (answer) => expect.unreachable(`not refused: ${JSON.stringify(answer)}`),
    (error: unknown) => error,
  );
  if (!(thrown instanceof ClientError)) throw thrown;
  expect(holds(thrown, ROOT_KEY)).toBe(false);
  return thrown;
}

beforeAll(async () => {
  const role = `kind: Role
name: domain-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [domain:write], resources: { upstream: railway, type: service } }
`;
  gateway = await startTestGateway({ scopes: { "test-roles.yaml": role } });
  reader = (await gateway.grant([{ action: "volume:read", resource: RESOURCES.stagingVolume }])).credential.value;
  editor = (await gateway.grant([{ action: "domain:write", resource: RESOURCES.stagingService }])).credential.value;
});
beforeEach(() => {
  before = gateway.reached().length;
});
afterAll(() => gateway.close());

describe("graphql-request", () => {
  it("does its work by a changed URL and key: the provider sees the root key alone, the client never", async () => {
    const answers = [
      await clientWith(reader).rawRequest<object>(VOLUME, { id: volumes.staging }),
      await clientWith(editor).rawRequest<object>(DOMAIN, { input }),
    ];
    const instance = { environmentId: environments.staging };
    expect(answers.map(({ data }) => data)).toMatchObject([
      { node: { name: "database-staging", volumeInstances: { edges: [{ node: instance }] } } },
      { created: { domain: "shop.example" } },
    ]);
    expect([...gateway.provider.account.domains.values()]).toMatchObject([{ domain: "shop.example" }]);
    expect(reached()).toHaveLength(2);
    expect(gateway.provider.calls.every(({ authorized }) => authorized)).toBe(true);
    expect(holds(gateway.provider.calls, reader) || holds(gateway.provider.calls, editor)).toBe(false);
    expect(holds(gateway.provider.calls, ROOT_KEY)).toBe(true);
    expect(holds(answers, ROOT_KEY)).toBe(false);
  });

  it("shows what the provider itself has to say against a call", async () => {
    const { response } = await refusalOf(clientWith(editor).request(DOMAIN, { input: { ...input, targetPort: "x" } }));
    expect(response).toMatchObject({ status: 200, errors: [{ message: expect.stringContaining("targetPort") }] });
    expect(new Headers(response.headers).has("valetkey-error")).toBe(false);
    expect(reached()).toHaveLength(1);
  });

  it("is refused the deletion of production's volume, and shows the code and both environments", async () => {
    const deletion = `mutation { volumeDelete(volumeId: "${volumes.production}") }`;
    const { response, message } = await refusalOf(clientWith(editor).request(deletion));
    expect(response.status).toBe(403);
    expect(response.errors).toMatchObject([{ extensions: { code: "environment_mismatch" } }]);
    // What a user sees first.
    expect(message).toMatch(/^environment_mismatch: .*staging.*production/);
    expect(new Headers(response.headers).get("valetkey-error")).toBe("environment_mismatch");
    expect(reached()).toEqual([]);
    expect(gateway.provider.account.volumes.size).toBe(3);
  });

  const refused: Readonly<Record<string, readonly [document: string, code: string]>> = {
    "a mutation that is not listed": [`mutation { customDomainDelete(id: "${services.web}") }`, "operation_unlisted"],
    "a field below a listed one": [
      `{ node(id: "${volumes.staging}") { ... on Volume { project { environments { edges { node { name } } } } } } }`,
      "operation_unlisted",
    ],
    "what another grant gives": [
      `mutation { customDomainCreate(input: { domain: "x.example", projectId: "${project}", environmentId: "${environments.staging}", serviceId: "${services.web}" }) { id } }`,
      "role_does_not_permit",
    ],
    "a document that cannot be parsed": ["{ node(id: ", "malformed_request"],
  };
  for (const [what, [document, code]] of Object.entries(refused)) {
    it(`shows the code of a refusal: ${what}`, async () => {
      const { response } = await refusalOf(clientWith(reader).rawRequest(document));
      expect(response.errors?.map(({ extensions }) => extensions?.["code"])).toEqual([code]);
      expect(reached()).toEqual([]);
    });
  }

  it("is refused a batch, a GET and another credential", async () => {
    const document = `{ node(id: "${volumes.staging}") { id } }`;
    const batch = await refusalOf(clientWith(reader).batchRequests([{ document }, { document }]));
    expect(batch.message).toContain("malformed_request");
    const headers = { authorization: `Bearer ${reader}` };
    const get = await refusalOf(new GraphQLClient(gateway.endpoint, { headers, method: "GET" }).request(document));
    expect(get.message).toContain("malformed_request");
    const { response } = await refusalOf(clientWith(ROOT_KEY).request(document));
    expect(response.status).toBe(401);
    expect(response.errors).toMatchObject([{ extensions: { code: "credential_invalid" } }]);
    expect(reached()).toEqual([]);
  });
});
