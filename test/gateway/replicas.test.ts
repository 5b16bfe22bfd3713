// The gateways of two brokers on one store: what one revokes, the other cuts while it streams; uses are counted together;
// and one that no longer hears of the store takes no credential and ends what it carries.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Behaviour, openOddUpstream, type OddUpstream, plain, raw } from "../support/odd-upstream.ts";
import { openReplicas, type Replica, type Replicas } from "../support/replicas.ts";
import { jwtOf } from "../support/jwt-of.ts";

const STREAM = raw(
  "HTTP/1.1 200 OK",
  "Content-Type: text/event-stream",
  "Transfer-Encoding: chunked",
  "",
  "5",
  "hello",
  "",
);
const reason = "test";

const policyFor = (origin: string): string => `kind: Upstream
name: odd
type: http
origins: ["${origin}"]
addresses: [127.0.0.1/32]
limits: { timeout: 30s }
credential: { secret: odd-root, place: { header: authorization, prefix: "Bearer " } }
actions: { thing:read: { risk: read } }
operations:
  - { call: "GET /things/{id}", action: thing:read, resource: "thing/{id}" }
---
kind: Resource
id: odd:thing/1
labels: { environment: staging }
---
kind: Role
name: thing-reader
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [thing:read], resources: { type: thing } }
limits: { uses: 5 }
`;

let upstream: OddUpstream;
let behaviour: Behaviour;
let replicas: Replicas;
let one: Replica;
let other: Replica;
beforeAll(async () => {
  upstream = await openOddUpstream((request, response) => behaviour(request, response));
  const settings = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
  replicas = await openReplicas({ scopes: { "odd.yaml": policyFor(upstream.origin), "settings.yaml": settings } });
  [one, other] = [await replicas.start(), await replicas.start()];
  const body = { value: "rk_live_0123456789abcdef", origins: [upstream.origin] };
  await one.as("admin-1").call("putSecret", { params: { name: "odd-root" }, body });
  behaviour = plain("hello");
});
afterAll(async () => {
  await replicas.close();
  await upstream[Symbol.asyncDispose]();
});

async function grant(on: Replica) {
  const permissions = [{ action: "thing:read", resource: "odd:thing/1" }];
  const answer = await on.as("coder").call("requestGrant", { body: { task: "read things", permissions } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer;
}

const get = (on: Replica, credential: string) =>
  fetch(`${on.url}/gateway/odd/things/1`, { headers: { authorization: `Bearer ${credential}` } });

describe("the gateways of two brokers on one store", () => {
  it("cut at one what streams there when the other revokes it, and refuse the next call at both", async () => {
    const { grant: given, credential } = await grant(one);
    // The root credential was put at the other: it has come here by then.
    await expect.poll(async () => (await get(other, jwtOf(credential).value)).status, { timeout: 5000 }).toBe(200);
    behaviour = STREAM;
    const streaming = await get(other, jwtOf(credential).value);
    expect(streaming.status).toBe(200);
    const body = streaming.text().then(
      () => "whole",
      () => "cut",
    );
    await one.as("security-1").call("revoke", { body: { target: { grant: given.id }, reason } });
    expect(await body).toBe("cut");
    behaviour = plain("hello");
    for (const broker of [one, other]) {
      const refused = await get(broker, jwtOf(credential).value);
      expect([refused.status, refused.headers.get("valetkey-error")]).toEqual([403, "cut_off"]);
    }
  });

  it("count the uses of a grant together", async () => {
    const { credential } = await grant(one);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => get(i % 2 === 0 ? one : other, jwtOf(credential).value)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
  });

  it("take no credential and end what streams while the store is not heard of, and go on by themselves when it is", async () => {
    const { credential } = await grant(one);
    behaviour = STREAM;
    const streaming = await get(other, jwtOf(credential).value);
    const body = streaming.text().then(
      () => "whole",
      () => "cut",
    );
    behaviour = plain("hello");
    replicas.server.child.kill("SIGSTOP");
    const before = upstream.requests.length;
    expect(await body).toBe("cut");
    const refused = await get(other, jwtOf(credential).value);
    expect([refused.status, refused.headers.get("valetkey-error")]).toEqual([503, "store_unavailable"]);
    expect(upstream.requests).toHaveLength(before);
    replicas.server.child.kill("SIGCONT");
    await expect.poll(async () => (await get(other, jwtOf(credential).value)).status, { timeout: 15_000 }).toBe(200);
  });
});
