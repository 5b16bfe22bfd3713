// Step 5 of the incident: a planted decoy is tried on every door of the broker. It never opens one, security hears of it
// wherever it is tried, and the agent whose own credential came with it is frozen at once (semantics, rule 17).

import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import {
  type AttackedGateway,
  DELETION,
  DOMAIN_CREATE,
  DOMAIN_WRITE,
  startAttackedGateway,
} from "../support/attacked-gateway.ts";
import { readAnswer } from "../support/gateway.ts";

let gateway: AttackedGateway;
beforeAll(async () => {
  gateway = await startAttackedGateway();
});
beforeEach(() => gateway.begin());
afterAll(() => gateway.close());

const send = (body: Parameters<AttackedGateway["post"]>[1], headers?: Record<string, string>) =>
  gateway.post(gateway.credential(), body, headers);

async function plant(): Promise<string> {
  return (await gateway.broker.as("security-1").call("addCanary", { body: { like: "railway" } })).value;
}

it("refuses the key found in the codebase, tells security, and freezes nobody who proved nothing", async () => {
  const decoy = await plant();
  const answer = await gateway.post(decoy, { query: DELETION });
  expect(answer).toMatchObject({ status: 403, error: "decoy_presented" });
  gateway.expectNoEffect();
  expect((await gateway.events()).at(-1)).toMatchObject({
    type: "decoy.presented",
    agent: null,
    where: "authorization",
  });
  expect(gateway.broker.log.at(-1)).toContain("decoy");
  expect(JSON.stringify([await gateway.events(), gateway.broker.log, answer.text])).not.toContain(decoy);
});

const url = (path: string): string => gateway.broker.url + path;
const bearer = (value: string) => ({ method: "POST", headers: { authorization: `Bearer ${value}` } });
it.each([
  ["an upstream that is not there", (key: string) => fetch(url("/gateway/nowhere/graphql/v2"), bearer(key))],
  ["a path that is not canonical", (key: string) => fetch(url("/gateway/railway//graphql/v2"), bearer(key))],
  ["the API of the broker", (key: string) => fetch(url("/v1/grants"), bearer(key))],
])("tells security also where it is tried on %s", async (_where, present) => {
  const decoy = await plant();
  const answer = await readAnswer(await present(decoy));
  expect((await gateway.events()).map(({ type }) => type)).toContain("decoy.presented");
  expect(answer.json).toMatchObject({ code: "decoy_presented" });
});

const escaped = (key: string): string =>
  JSON.stringify({ query: DOMAIN_CREATE.replace("a.example", key) }).replace(
    key,
    `\\u00${key.charCodeAt(0).toString(16)}${key.slice(1)}`,
  );
it.each([
  ["a header", (key: string) => send({ query: DOMAIN_CREATE }, { "x-api-key": key })],
  ["an argument, escaped in the JSON", (key: string) => send(escaped(key))],
  ["a document that is refused anyway", (key: string) => send({ query: `mutation { login(key: "${key}") { id } }` })],
  ["a variable that nothing uses", (key: string) => send({ query: DOMAIN_CREATE, variables: { key } })],
  ["a body that is no JSON", (key: string) => send(`key=${key}`)],
])("freezes the agent at once when it comes in %s beside its own credential", async (_where, present) => {
  const decoy = await plant();
  try {
    expect(await present(decoy)).toMatchObject({ status: 403, error: "decoy_presented" });
    gateway.expectNoEffect();
    const types = (await gateway.events()).map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(["agent.struck", "decoy.presented"]));
    expect(await send({ query: DOMAIN_CREATE })).toMatchObject({ status: 403 });
    await expect(gateway.grant(DOMAIN_WRITE)).rejects.toMatchObject({ code: "agent_frozen" });
  } finally {
    const body = { reason: "test" };
    await gateway.broker
      .as("security-1")
      .call("unfreeze", { params: { name: "coder" }, body })
      .catch(() => undefined);
  }
});
