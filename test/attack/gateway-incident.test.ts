// The incident, replayed through the front door: an agent of staging, with a credential for what its task needs, tries
// every way around that is known to reach the production volume. None does, each is refused by name and on record.

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import {
  type AttackedGateway,
  DELETION,
  DOMAIN_CREATE,
  DOMAIN_WRITE,
  startAttackedGateway,
} from "../support/attacked-gateway.ts";
import { readAnswer, RESOURCES, ROOT_KEY, TASK } from "../support/gateway.ts";
import { PATIENCE } from "../support/odd-upstream.ts";
import { sendRaw } from "../support/raw-http.ts";

const { environments, project, services, volumes } = PROVIDER;
const GOOD_FIELD = DOMAIN_CREATE.slice("mutation { ".length, -" }".length);
const DELETE_FIELD = DELETION.slice("mutation { ".length, -" }".length);

let gateway: AttackedGateway;
beforeAll(async () => {
  gateway = await startAttackedGateway();
});
beforeEach(() => gateway.begin());
afterAll(() => gateway.close());

const send = (body: Parameters<AttackedGateway["post"]>[1], headers?: Record<string, string>) =>
  gateway.post(gateway.credential(), body, headers);

describe("step 1", () => {
  it("gives the agent what its task needs: the provider sees the root key, the agent never", async () => {
    const answer = await send({ query: DOMAIN_CREATE });
    expect(answer).toMatchObject({ status: 200, error: null, json: { data: { customDomainCreate: {} } } });
    const call = gateway.provider.calls.at(-1);
    expect(call?.authorized).toBe(true);
    expect(JSON.stringify(call)).not.toContain(gateway.credential());
    expect(answer.text + JSON.stringify([...answer.headers])).not.toContain(ROOT_KEY);
    const types = async () => (await gateway.events()).map(({ type }) => type);
    await expect.poll(types, PATIENCE).toEqual(["call.allowed", "call.forwarded"]);
  });
});

describe("step 2", () => {
  it("refuses the deletion with that credential, names the two labels that differ, and lets only the look-up through", async () => {
    const lookUps = gateway.provider.calls.length;
    const answer = await send({ query: DELETION });
    await gateway.expectRefused(answer, "environment_mismatch");
    const labels = { agent: ["staging"], resource: ["production"] };
    expect(answer.json["reasons"]).toContainEqual(expect.objectContaining({ labels }));
    expect((await gateway.events()).at(-1)).toMatchObject({
      task: TASK,
      operation: "mutation volumeDelete",
      permissions: [{ action: "volume:delete", resource: RESOURCES.productionVolume, environments: ["production"] }],
    });
    expect(gateway.provider.calls.slice(lookUps).map(({ body }): unknown => JSON.parse(body))).toMatchObject([
      {
        query: expect.stringMatching(/^query\(\$id: ID!\) \{ node\(id: \$id\)/),
        variables: { id: volumes.production },
      },
    ]);
  });

  it("refuses the volume that both environments share as well", async () => {
    const answer = await send({ query: `mutation { volumeDelete(volumeId: "${volumes.shared}") }` });
    await gateway.expectRefused(answer, "environment_mismatch");
  });
});

describe("step 3", () => {
  const asked = [
    ["volume:delete", RESOURCES.productionVolume, "environment_mismatch"],
    ["volume:delete", RESOURCES.sharedVolume, "environment_mismatch"],
    ["credential:mint", "railway:account/main", "resource_unknown"],
  ] as const;
  for (const [action, resource, code] of asked) {
    it(`refuses a grant of ${action} on ${resource} before any call`, async () => {
      await expect(gateway.grant([{ action, resource }])).rejects.toMatchObject({ code });
      gateway.expectNoEffect();
      expect((await gateway.events()).at(-1)).toMatchObject({ type: "grant.refused", agent: "coder" });
    });
  }

  it("sends no deletion in staging either, by a grant that names it: the role wants signatures for each call", async () => {
    const { credential } = await gateway.grant([{ action: "volume:delete", resource: RESOURCES.stagingVolume }]);
    const query = `mutation { volumeDelete(volumeId: "${volumes.staging}") }`;
    await gateway.expectRefused(await gateway.post(credential.value, { query }), "reason_missing");
    const held = await gateway.post(credential.value, { query }, { "valetkey-reason": "it is not used any more" });
    expect(held.status).toBe(202);
    expect(held.headers.get("valetkey-hold")).toMatch(/^hld_/);
    expect(held.json).toMatchObject({ code: "held", errors: [{ extensions: { code: "held" } }] });
    gateway.expectNoEffect();
  });
});

describe("step 4", () => {
  const mismatch = "environment_mismatch";
  const padding = "x".repeat(20_480);
  const escaped = JSON.stringify({ query: DELETION }).replaceAll("volumeDelete", String.raw`\u0076olumeDelet\u0065`);
  const patch = { services: { [services.web]: { deploy: { region: { isDeleted: true } } } } };
  const commit = (value: object): object => ({
    query: "mutation($e: String!, $p: EnvironmentConfig) { environmentPatchCommit(environmentId: $e, patch: $p) }",
    variables: { e: environments.staging, p: value },
  });
  const posted: Record<string, readonly [body: string | object, code: ErrorCode]> = {
    "an alias": [{ query: `mutation { customDomainCreate: ${DELETE_FIELD} }` }, mismatch],
    "a named fragment": [{ query: `mutation { ...F } fragment F on Mutation { ${DELETE_FIELD} }` }, mismatch],
    "a fragment in a fragment": [
      { query: `mutation { ...F } fragment G on Mutation { ${DELETE_FIELD} } fragment F on Mutation { ...G }` },
      mismatch,
    ],
    "an inline fragment": [{ query: `mutation { ... on Mutation { ${DELETE_FIELD} } }` }, mismatch],
    "an inline fragment on a type of its own": [{ query: `mutation { ... on Query { ${DELETE_FIELD} } }` }, mismatch],
    "a second field beside the good one": [{ query: `mutation { ${GOOD_FIELD} ${DELETE_FIELD} }` }, mismatch],
    "two operations and operationName": [
      { query: `mutation A { ${GOOD_FIELD} } mutation B { ${DELETE_FIELD} }`, operationName: "B" },
      mismatch,
    ],
    "two operations without operationName": [
      { query: `mutation A { ${GOOD_FIELD} } mutation B { ${DELETE_FIELD} }` },
      "malformed_request",
    ],
    "a batch array": [[{ query: DOMAIN_CREATE }, { query: DELETION }], "malformed_request"],
    "a batch array of one": [[{ query: DELETION }], "malformed_request"],
    "a persisted-query hash": [
      {
        extensions: { persistedQuery: { version: 1, sha256Hash: createHash("sha256").update(DELETION).digest("hex") } },
      },
      "malformed_request",
    ],
    "a good document beside the hash of another": [
      {
        query: DOMAIN_CREATE,
        extensions: { persistedQuery: { version: 1, sha256Hash: createHash("sha256").update(DELETION).digest("hex") } },
      },
      "malformed_request",
    ],
    "a stored document's id": [{ id: "deletion", documentId: "deletion" }, "malformed_request"],
    "a variable": [
      { query: "mutation($v: String!) { volumeDelete(volumeId: $v) }", variables: { v: volumes.production } },
      mismatch,
    ],
    "a variable's default": [
      { query: `mutation($v: String! = "${volumes.production}") { volumeDelete(volumeId: $v) }` },
      mismatch,
    ],
    "a default that hides behind another volume": [
      {
        query: `mutation($v: String! = "${volumes.staging}") { volumeDelete(volumeId: $v) }`,
        variables: { v: volumes.production },
      },
      mismatch,
    ],
    "a directive that is false by default": [
      {
        query: `mutation($no: Boolean! = false) { ${GOOD_FIELD} ... @include(if: $no) { ${DELETE_FIELD} } }`,
        variables: { no: true },
      },
      mismatch,
    ],
    "unicode escapes in the JSON": [escaped, mismatch],
    "unicode escapes in the document": [
      { query: String.raw`mutation { volumeDelete(volumeId: "\u{35}${volumes.production.slice(1)}") }` },
      mismatch,
    ],
    "a block string": [{ query: `mutation { volumeDelete(volumeId: """${volumes.production}""") }` }, mismatch],
    "20 KB of comment before the field": [{ query: `mutation { #${padding}\n${DELETE_FIELD} }` }, mismatch],
    "20 KB of space before the field": [{ query: `mutation { ${" ".repeat(20_480)}${DELETE_FIELD} }` }, mismatch],
    "20 KB of JSON before the field": [` ${" ".repeat(20_480)}${JSON.stringify({ query: DELETION })}`, mismatch],
    "20 KB in a variable that nothing uses": [{ variables: { a: padding }, query: DELETION }, "malformed_request"],
    "a duplicate JSON key": [
      `{"query":${JSON.stringify(DOMAIN_CREATE)},"query":${JSON.stringify(DELETION)}}`,
      "malformed_request",
    ],
    "a duplicate JSON key, once escaped": [
      String.raw`{"query":${JSON.stringify(DOMAIN_CREATE)},"\u0071uery":${JSON.stringify(DELETION)}}`,
      "malformed_request",
    ],
    "a duplicate variable": [
      `{"query":"mutation($v: String!) { volumeDelete(volumeId: $v) }","variables":{"v":"${volumes.staging}","v":"${volumes.production}"}}`,
      "malformed_request",
    ],
    "environmentPatchCommit with a nested isDeleted": [commit(patch), "resource_unknown"],
    "environmentPatchCommit with isDeleted on a volume": [
      commit({ volumes: { [volumes.production]: { isDeleted: true } } }),
      "resource_unknown",
    ],
    "environmentPatchCommit with the patch in the document": [
      {
        query: `mutation { environmentPatchCommit(environmentId: "${environments.staging}", patch: { services: { a: { isDeleted: true } } }) }`,
      },
      "resource_unknown",
    ],
    projectScheduleDeleteForce: [
      { query: `mutation { projectScheduleDeleteForce(id: "${project}") }` },
      "resource_unknown",
    ],
    apiTokenCreate: [{ query: 'mutation { apiTokenCreate(input: { name: "a" }) }' }, "resource_unknown"],
    "a mutation that the pack does not list": [
      { query: `mutation { volumeCreate(input: { projectId: "${project}", mountPath: "/a" }) { id } }` },
      "operation_unlisted",
    ],
    introspection: [{ query: "{ __schema { mutationType { fields { name } } } }" }, "operation_unlisted"],
    "a subscription": [{ query: `subscription { ${DELETE_FIELD} }` }, "operation_unlisted"],
  };
  for (const [what, [body, code]] of Object.entries(posted)) {
    it(`refuses ${what}`, async () => {
      await gateway.expectRefused(await send(body), code);
    });
  }

  it.each(["gzip", "deflate", "br", "identity, gzip"])("refuses a body that is compressed with %s", async (coding) => {
    const body = gzipSync(JSON.stringify({ query: DELETION }));
    await gateway.expectRefused(await send(body, { "content-encoding": coding }), "malformed_request");
  });

  it("refuses a compressed body that does not say so", async () => {
    await gateway.expectRefused(await send(gzipSync(JSON.stringify({ query: DELETION }))), "malformed_request");
  });

  it.each([DELETION, "{ __typename }"])("refuses GET with ?query=%s", async (query) => {
    const headers = { authorization: `Bearer ${gateway.credential()}` };
    const answer = await readAnswer(await fetch(`${gateway.endpoint}?query=${encodeURIComponent(query)}`, { headers }));
    await gateway.expectRefused(answer, "malformed_request");
  });

  it("refuses a good document in the body beside another in ?query=", async () => {
    const headers = { authorization: `Bearer ${gateway.credential()}`, "content-type": "application/json" };
    const body = JSON.stringify({ query: DOMAIN_CREATE });
    const url = `${gateway.endpoint}?query=${encodeURIComponent(DELETION)}`;
    const answer = await readAnswer(await fetch(url, { method: "POST", headers, body }));
    await gateway.expectRefused(answer, "malformed_request");
  });

  it.each([
    ["application/graphql", DELETION],
    ["text/plain", JSON.stringify({ query: DELETION })],
    ["application/x-www-form-urlencoded", `query=${encodeURIComponent(DELETION)}`],
    ["application/json; charset=utf-16le", JSON.stringify({ query: DELETION })],
    [
      "multipart/form-data; boundary=a",
      `--a\r\ncontent-disposition: form-data; name="operations"\r\n\r\n{}\r\n--a--\r\n`,
    ],
  ])("refuses a body of type %s", async (type, body) => {
    await gateway.expectRefused(await send(body, { "content-type": type }), "malformed_request");
  });

  const host = "backboard.railway.com";
  it("refuses the other host, named by Host: the call is judged as any other", async () => {
    await gateway.expectRefused(await raw("/gateway/railway/graphql/v2", `Host: ${host}`), "environment_mismatch");
  });
  it.each(["X-Forwarded-Host", "X-Forwarded-Server", "Forwarded"])(
    "refuses the other host, named by %s",
    async (name) => {
      const line = `${name}: ${name === "Forwarded" ? "host=" : ""}${host}`;
      await gateway.expectRefused(
        await raw("/gateway/railway/graphql/v2", `Host: localhost\r\n${line}`),
        "environment_mismatch",
      );
    },
  );
  it.each([`https://${host}/graphql/v2`, `http://${host}/gateway/railway/graphql/v2`])(
    "refuses the other host in an absolute-form target, %s: nobody is asked who called",
    async (target) => {
      await gateway.expectRefused(await raw(target, `Host: ${host}`), "malformed_request", false);
    },
  );

  /** The deletion to this target. */
  async function raw(target: string, headers: string) {
    const body = JSON.stringify({ query: DELETION });
    const text = await sendRaw(
      gateway.broker.url,
      `POST ${target} HTTP/1.1\r\n${headers}\r\nAuthorization: Bearer ${gateway.credential()}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
    return { status, error: /^valetkey-error: (.*)$/im.exec(text)?.[1]?.trim() ?? null, text };
  }
});

describe("step 7", () => {
  it("refuses the next call once security has revoked the task, and every new request for it", async () => {
    expect(await send({ query: DOMAIN_CREATE })).toMatchObject({ status: 200 });
    const body = { target: { task: TASK }, reason: "it reached for production" };
    const { revocation } = await gateway.broker.as("security-1").call("revoke", { body });
    const reached = gateway.reached().length;
    expect(await send({ query: DOMAIN_CREATE })).toMatchObject({ status: 403, error: "cut_off" });
    expect(gateway.reached()).toHaveLength(reached);
    await expect(gateway.grant(DOMAIN_WRITE)).rejects.toMatchObject({ code: "cut_off" });
    expect(await gateway.events()).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ type: "call.refused", reasons: [expect.objectContaining({ rule: revocation.id })] }),
      ]),
    );
    await gateway.broker.as("security-1").call("reopen", { params: { id: revocation.id }, body: { reason: "test" } });
  });
});
