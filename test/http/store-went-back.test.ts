// Two brokers run on a real Redis server; it is stopped, an older copy of its data is put in its place, and it comes back
// under the same address. What agents, people and verifiers then meet at the front doors, until a person has accepted it.

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createProofSigner } from "../../src/sdk/sign-proof.ts";
import { createVerifier } from "../../src/sdk/verify.ts";
import { readEvents } from "../support/read-events.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { ISSUER, openReplicas, type Replica, type Replicas } from "../support/replicas.ts";
import { jwtOf } from "../support/jwt-of.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000, interval: 100 } } });

const ROLES = `kind: Role
name: writer
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [domain:write], resources: { type: service } }
---
kind: Role
name: keeper
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [volume:delete], resources: { type: volume }, requires: { approvals: { count: 1, from: [oncall] } } }
`;
const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const UPLOADS = { action: "volume:delete", resource: "shop-staging:volume/uploads" };
const reason = "test";

let replicas: Replicas;
let one: Replica;
let other: Replica;
let server: RedisServer;
let kept: string;
beforeEach(async () => {
  replicas = await openReplicas({ scopes: { "roles.yaml": ROLES } });
  ({ server } = replicas);
  kept = mkdtempSync(join(tmpdir(), "valetkey-copy-"));
  [one, other] = [await replicas.start(), await replicas.start()];
});
afterEach(async () => {
  await replicas.close();
  await server.kill();
  rmSync(kept, { recursive: true });
});

/** What it has is changed while it is stopped; the brokers go on. */
async function restartAfter(change: (data: string) => void): Promise<void> {
  const { port, folder } = server;
  await server.stop();
  change(join(folder, "appendonlydir"));
  server = await startRedisServer({ port, folder });
}
const copy = () => restartAfter((data) => cpSync(data, kept, { recursive: true }));
const setBack = () =>
  restartAfter((data) => {
    rmSync(data, { recursive: true });
    cpSync(kept, data, { recursive: true });
  });

async function request(on: Replica, task: string, permission = DOMAIN) {
  return on.as("coder").call("requestGrant", { body: { task, permissions: [permission] } });
}
async function grant(on: Replica, task: string) {
  const answer = await request(on, task);
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer;
}
const refusal = (asked: Promise<unknown>) =>
  asked.then(
    () => "given",
    (thrown: unknown) => (thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown)),
  );
/** Once the server is heard of again. */
async function refusalOf(asked: () => Promise<unknown>): Promise<string> {
  return vi.waitFor(
    async () => {
      const code = await refusal(asked());
      expect(code).not.toBe("store_unavailable");
      return code;
    },
    { timeout: 20_000, interval: 50 },
  );
}
const ready = (replica: Replica) => replica.as("admin-1").call("ready");

const follow = (replica: Replica) =>
  createVerifier({
    issuer: ISSUER,
    url: replica.url,
    audience: "https://staging.shop.example",
    environment: "staging",
    key: replicas.keyOf("shop-verifier"),
    name: "shop-verifier",
  });

describe("brokers whose store was set back to an older copy", () => {
  it("give nothing until a person accepts it; what was given before is void, and what was revoked stays so", async () => {
    const old = await grant(one, "before the copy");
    const waits = await request(one, "asked before the copy", UPLOADS);
    if (!("hold" in waits)) throw new Error("expected it to be held");
    // An agent's proof of identity, used up after the copy.
    const sign = createProofSigner("coder", replicas.keyOf("coder"), ISSUER, systemClock);
    await copy();
    await expect.poll(() => refusal(ready(one))).toBe("given");
    const proof = `Bearer ${await sign()}`;
    const list = () => fetch(`${one.url}/v1/grants`, { headers: { authorization: proof } });
    await expect.poll(async () => (await list()).status).toBe(200);
    const lost = await grant(other, "after the copy");
    await one.as("security-1").call("revoke", { body: { target: { grant: old.grant.id }, reason } });

    await setBack();

    // Whoever is asked first, for whatever gives.
    for (const on of [other, one]) expect(await refusalOf(() => request(on, "t"))).toBe("store_went_back");
    const renewal = one.as("coder").call("renewCredential", { params: { id: old.grant.id } });
    expect(await refusal(renewal)).not.toBe("given");
    for (const on of [one, other]) {
      const readiness = async () => (await fetch(`${on.url}/readyz`)).text();
      await expect.poll(readiness).toContain("doctor --acknowledge-store");
      expect((await fetch(`${on.url}/readyz`)).status).toBe(503);
    }
    // The revocation is back by itself.
    const revoked = async () =>
      (await one.as("security-1").call("listRevocations", {})).revocations.filter(
        ({ target }) => target.grant === old.grant.id,
      );
    await expect.poll(async () => (await revoked()).length).toBe(1);

    // Not by anybody.
    for (const name of ["security-1", "oncall-1", "coder"]) {
      expect(await refusal(other.as(name).call("acknowledgeStore", { body: { reason } }))).toBe("power_missing");
    }
    const accepted = await other.as("admin-1").call("acknowledgeStore", { body: { reason: "the copy is accepted" } });
    expect(accepted.epoch).toBe(1);
    expect(await refusal(one.as("admin-1").call("acknowledgeStore", { body: { reason } }))).toBe("conflict");

    // A proof that was used up since the copy is not good again, nor is any other that was made until now: callers make
    // new ones until one is.
    expect((await list()).status).toBe(401);
    const given = await vi.waitFor(() => grant(one, "anew"), { timeout: 45_000, interval: 500 });
    // What waited is stale for ever, and whoever reads it is told why.
    const { hold } = await one.as("coder").call("readHold", { params: { id: waits.hold.id } });
    const why = "the store has lost some of its past since it was asked";
    expect(hold).toMatchObject({ state: "stale", endedBy: accepted.revocation, why });
    // A verifier takes neither what the store knows nor what it lost.
    using verifier = follow(other);
    await verifier.ready();
    await verifier.verify(jwtOf(given.credential).value, DOMAIN);
    for (const { credential } of [old, lost]) {
      await expect(verifier.verify(jwtOf(credential).value, DOMAIN)).rejects.toMatchObject({ code: "cut_off" });
    }
    expect((await fetch(`${other.url}/readyz`)).status).toBe(200);
    const events = await readEvents(one);
    const of = (type: string) => events.filter((event) => event["type"] === type);
    expect(of("cutoff.restored").length).toBeGreaterThan(0);
    expect(of("store.recovered")).toMatchObject([{ person: "admin-1", revocation: accepted.revocation }]);
    expect(of("hold.invalidated")).toMatchObject([{ hold: waits.hold.id, changed: ["store"] }]);
  });

  it("are put right where it was emptied: keys are there, brokers start, and it gives when a person has put policy in force", async () => {
    const lost = await grant(one, "before it was emptied");
    await restartAfter((data) => rmSync(data, { recursive: true }));

    for (const on of [one, other]) expect(await refusalOf(() => request(on, "t"))).toBe("store_went_back");
    // What the store lost of its own is there before anything is accepted: a broker starts on it.
    const keys = async () => (await (await fetch(`${one.url}/.well-known/jwks.json`)).json()) as { keys: unknown[] };
    await expect.poll(async () => (await keys()).keys.length).toBeGreaterThan(0);
    const third = await vi.waitFor(() => replicas.start(), { timeout: 20_000, interval: 500 });

    await one.as("admin-1").call("acknowledgeStore", { body: { reason: "the disk is gone" } });
    const activated = async () => {
      const { digest, inForce } = await one.as("admin-1").call("readScopes");
      if (inForce === null) await one.as("admin-1").call("activateScopes", { body: { digest, replaces: null } });
    };
    await vi.waitFor(activated, { timeout: 45_000, interval: 500 });
    const given = await vi.waitFor(() => grant(third, "anew"), { timeout: 20_000, interval: 500 });
    using verifier = follow(other);
    await verifier.ready();
    await verifier.verify(jwtOf(given.credential).value, DOMAIN);
    await expect(verifier.verify(jwtOf(lost.credential).value, DOMAIN)).rejects.toMatchObject({
      name: "VerificationError",
    });
    for (const on of [one, other, third]) expect((await fetch(`${on.url}/readyz`)).status).toBe(200);
  });
});
