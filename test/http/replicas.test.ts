// Two brokers on one Redis: what one does, the other knows; what happens once, happens once among all.

import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createProofSigner } from "../../src/sdk/sign-proof.ts";
import { createVerifier } from "../../src/sdk/verify.ts";
import { readEvents } from "../support/read-events.ts";
import { ISSUER, openReplicas, type Replica, type Replicas } from "../support/replicas.ts";
import { jwtOf } from "../support/jwt-of.ts";

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const WITHOUT_LIMIT = `kind: Role
name: replica-writer
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [domain:write], resources: { type: service } }
`;
const reason = "test";
/** A verifier connects again after a while. */
const PATIENT = { timeout: 15_000, interval: 250 };
let replicas: Replicas;
let one: Replica;
let other: Replica;
beforeAll(async () => {
  replicas = await openReplicas({ scopes: { "replicas.yaml": WITHOUT_LIMIT } });
  // At the same moment, in an empty store: keys are made once, and the policy comes into force once.
  [one, other] = await Promise.all([replicas.start(), replicas.start()]);
});
afterAll(() => replicas.close());

async function grant(on: Replica, task = "t", name = "coder") {
  const answer = await on
    .as(name)
    .call("requestGrant", { body: { task, role: "replica-writer", permissions: [DOMAIN] } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer;
}

const follow = (replica: Replica) =>
  createVerifier({
    issuer: ISSUER,
    url: replica.url,
    audience: "https://staging.shop.example",
    environment: "staging",
    key: replicas.keyOf("shop-verifier"),
    name: "shop-verifier",
  });

describe("several brokers on one store", () => {
  it("renew, read and end what any of them gave", async () => {
    const { grant: given } = await grant(one);
    await other.as("coder").call("renewCredential", { params: { id: given.id } });
    await other.as("coder").call("endGrant", { params: { id: given.id } });
    await expect(one.as("coder").call("renewCredential", { params: { id: given.id } })).rejects.toMatchObject({
      status: 409,
    });
  });

  it("publish one set of keys, and each verifies what the other signed", async () => {
    const keys = await Promise.all(
      [one, other].map(async ({ url }) => (await fetch(`${url}/.well-known/jwks.json`)).json()),
    );
    expect(keys[0]).toEqual(keys[1]);
  });

  it("call themselves alike, or the later one does not start", async () => {
    const issuer = "https://another.example";
    await expect(replicas.start({ VALETKEY_ISSUER: issuer })).rejects.toThrow(`set VALETKEY_ISSUER to that here too`);
    const known = { VALETKEY_KNOWN_FILE: ".valetkey/known-1.json" };
    await expect(replicas.start({ ...known, VALETKEY_ISSUER: issuer })).rejects.toThrow(`is of the brokers ${ISSUER}`);
  });

  it("take a proof once, whoever is asked", async () => {
    const sign = createProofSigner("security-1", replicas.keyOf("security-1"), ISSUER, systemClock);
    const headers = { authorization: `Bearer ${await sign()}` };
    const ask = (replica: Replica) => fetch(`${replica.url}/v1/revocations`, { headers });
    const answers = await Promise.all([one, other, one, other].map(ask));
    expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(1);
    expect(answers.map(({ status }) => status)).toContain(401);
  });

  it("tell a verifier at one of what the other revoked, in the order of its number", async () => {
    using verifier = follow(other);
    await verifier.ready();
    const [first, second] = [await grant(one, "a"), await grant(one, "b")];
    for (const { credential } of [first, second]) await verifier.verify(jwtOf(credential).value, DOMAIN);
    await one.as("security-1").call("revoke", { body: { target: { task: "a" }, reason } });
    await other.as("security-1").call("revoke", { body: { target: { agent: "nobody" }, reason } });
    await one.as("security-1").call("revoke", { body: { target: { grant: second.grant.id }, reason } });
    await vi.waitFor(async () => {
      for (const { credential } of [first, second])
        await expect(verifier.verify(jwtOf(credential).value, DOMAIN)).rejects.toMatchObject({ code: "cut_off" });
    });
    expect(verifier.status()).toMatchObject({ open: true });
    const { revocations } = await one.as("security-1").call("listRevocations", {});
    const closing = revocations.filter(({ target }) => target.task !== undefined);
    for (const { id } of closing) await other.as("security-1").call("reopen", { params: { id }, body: { reason } });
  });

  it("know of a freeze and of its end", async () => {
    await one.as("security-1").call("freeze", { params: { name: "coder" }, body: { reason } });
    await expect(grant(other)).rejects.toMatchObject({ code: "agent_frozen" });
    await other.as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason } });
    await grant(one);
  });

  it("have keys that were rotated by one at the other, and refuse at every verifier what a compromised one signed", async () => {
    using verifier = follow(other);
    await verifier.ready();
    const { credential } = await grant(other);
    await verifier.verify(jwtOf(credential).value, DOMAIN);
    await one.as("admin-1").call("rotateKeys", { body: { compromised: true } });
    await vi.waitFor(async () => {
      await expect(verifier.verify(jwtOf(credential).value, DOMAIN)).rejects.toMatchObject({
        name: "VerificationError",
      });
      const later = await grant(other);
      await verifier.verify(jwtOf(later.credential).value, DOMAIN);
    }, PATIENT);
  });

  it("see a root credential and a decoy that the other was given", async () => {
    const origins = ["https://api.github.com", "https://uploads.github.com"];
    const value = "ghp_0123456789abcdefghij0123456789abcdefgh";
    await one.as("admin-1").call("putSecret", { params: { name: "github-root" }, body: { origins, value } });
    await vi.waitFor(async () => {
      const { secrets } = await other.as("admin-1").call("listSecrets", {});
      expect(secrets.map(({ name }) => name)).toContain("github-root");
    });
    await one.as("admin-1").call("addCanary", { body: { like: "github" } });
    await vi.waitFor(async () => {
      expect((await other.as("admin-1").call("listCanaries", {})).canaries).toHaveLength(1);
    });
  });

  it("wake who long-polls at one when the other ends what is waited for", async () => {
    const { grant: given } = await grant(one);
    const waiting = other.as("coder").call("readGrant", { params: { id: given.id }, query: { wait: 20 } });
    await wait(100);
    await one.as("coder").call("endGrant", { params: { id: given.id } });
    expect(await waiting).toMatchObject({ status: "ended" });
  });

  it("keep one record, whole, whoever writes", async () => {
    const stop = (replica: Replica, i: number) =>
      replica.as("security-1").call("revoke", { body: { target: { task: `nothing ${i}` }, reason } });
    await Promise.all(Array.from({ length: 40 }, (_, i) => stop(i % 2 === 0 ? one : other, i)));
    const [first, second] = [await readEvents(one), await readEvents(other)];
    expect(first.filter(({ type }) => type === "cutoff.created").length).toBeGreaterThan(40);
    expect(second).toEqual(first);
  });
});
