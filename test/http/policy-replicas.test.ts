// Policy where brokers share a store: a change waits for a person, all take it at once, and a broker that has another one
// gives nothing but stops what it is told to (semantics, rule 34).

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Route } from "../../src/api/route.ts";
import { ROUTES } from "../../src/api/routes.ts";
import { readEvents } from "../support/read-events.ts";
import { openReplicas, type Replica, type Replicas } from "../support/replicas.ts";

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const PREVIEW = "kind: Environment\nname: preview\nprotected: false\n";

let replicas: Replicas;
beforeEach(async () => {
  replicas = await openReplicas();
});
afterEach(() => replicas.close());

const ask = (replica: Replica) =>
  replica.as("coder").call("requestGrant", { body: { task: "t", permissions: [DOMAIN] } });

async function grant(replica: Replica) {
  const answer = await ask(replica);
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer.grant;
}

const scopesOf = (replica: Replica) => replica.as("admin-1").call("readScopes");
const metricsOf = async (replica: Replica) => (await fetch(`${replica.url}/metrics`)).text();
const ready = (replica: Replica) => replica.as("admin-1").call("ready");

async function activate(replica: Replica, digest: string, replaces: string | null, person = "admin-1") {
  return replica.as(person).call("activateScopes", { body: { digest, replaces, reason: "reviewed" } });
}

/** A second folder beside the first, with more in it. */
function otherFolder(): Record<string, string> {
  cpSync(join(replicas.folder.path, "scopes"), join(replicas.folder.path, "scopes-2"), { recursive: true });
  writeFileSync(join(replicas.folder.path, "scopes-2/more.yaml"), PREVIEW);
  return { VALETKEY_SCOPES: "scopes-2" };
}

describe("a changed folder", { timeout: 60_000 }, () => {
  it("waits at every broker, keeps none of them from anything, and says what it is", async () => {
    const [one, other] = [await replicas.start(), await replicas.start()];
    const { digest } = one.broker.policy;
    replicas.folder.writeScopes("more.yaml", PREVIEW);
    for (const replica of [one, other]) {
      await replica.broker.reload();
      const scopes = await scopesOf(replica);
      expect(scopes).toMatchObject({ digest, inForce: digest, mismatched: false });
      expect(scopes.pending).toMatchObject({ added: ["Environment preview"], removed: [] });
      expect(scopes.pending?.counts["Environment"]).toBe((scopes.counts["Environment"] ?? 0) + 1);
      expect(await ready(replica)).toMatchObject({ ready: true, notes: [expect.stringContaining("scopes activate")] });
      await grant(replica);
    }
  });

  it("is in force everywhere when a person says so at one, and what it would not give has ended", async () => {
    const [one, other] = [await replicas.start(), await replicas.start()];
    const { digest } = one.broker.policy;
    const { id } = await grant(other);
    const roles = readFileSync(join(replicas.folder.path, "scopes/roles.yaml"), "utf8");
    replicas.folder.writeScopes("roles.yaml", roles.replace("domain:write", "domain:read"));
    await Promise.all([one.broker.reload(), other.broker.reload()]);
    const next = (await scopesOf(one)).pending?.digest ?? "";
    await grant(other);
    expect(await activate(one, next, digest)).toEqual({ digest: next, previous: digest, endedGrants: 2 });
    await expect.poll(() => other.broker.policy.digest, { timeout: 10_000 }).toBe(next);
    expect((await other.as("coder").call("readGrant", { params: { id } })).status).toBe("ended");
    await expect(ask(other)).rejects.toMatchObject({ status: 403 });
    const events = await readEvents(other);
    const facts = { person: "admin-1", reason: "reviewed", policy: next, previousPolicy: digest };
    expect(events.findLast(({ type }) => type === "policy.activated")).toMatchObject(facts);
    expect(events.filter(({ type }) => type === "policy.narrowed")).toHaveLength(1);
  });

  it("is activated by nobody without the power, and over nothing that was not seen", async () => {
    const one = await replicas.start();
    const { digest } = one.broker.policy;
    replicas.folder.writeScopes("more.yaml", PREVIEW);
    await one.broker.reload();
    const next = (await scopesOf(one)).pending?.digest ?? "";
    for (const name of ["security-1", "oncall-1", "coder"]) {
      await expect(activate(one, next, digest, name), name).rejects.toMatchObject({ code: "power_missing" });
    }
    await expect(activate(one, next, "c".repeat(64))).rejects.toMatchObject({ code: "conflict" });
    await expect(activate(one, "d".repeat(64), digest)).rejects.toMatchObject({ code: "conflict" });
    expect((await scopesOf(one)).inForce).toBe(digest);
  });
});

describe("a broker whose policy is not the one in force", { timeout: 60_000 }, () => {
  async function startMismatched() {
    const one = await replicas.start();
    const other = await replicas.start(otherFolder());
    return { one, other };
  }

  it("says so, with both digests, and gives nothing", async () => {
    const { one, other } = await startMismatched();
    const [has, inForce] = [other.broker.policy.digest, one.broker.policy.digest];
    const said = expect.stringMatching(new RegExp(`has policy ${has.slice(0, 12)}.*${inForce.slice(0, 12)} in force`));
    expect(await ready(other)).toMatchObject({ ready: false, problems: [said] });
    expect(await scopesOf(other)).toMatchObject({ digest: has, inForce, mismatched: true, pending: null });
    await expect(ask(other)).rejects.toMatchObject({ status: 503, code: "policy_mismatch", retryAfterSeconds: 1 });
    const call = await fetch(`${other.url}/gateway/railway/graphql/v2`, { method: "POST", body: "{}" });
    expect([call.status, call.headers.get("valetkey-error")]).toEqual([503, "policy_mismatch"]);
    const [differs, alike] = await Promise.all([other, one].map(metricsOf));
    expect(differs).toContain("valetkey_policy_mismatch 1\n");
    expect(differs).toContain(`valetkey_policy_info{digest="${has}",in_force="${inForce}"} 1\n`);
    expect(differs).toMatch(/^valetkey_requests_total\{route="requestGrant",status="503"\} 1$/m);
    expect(alike).toContain("valetkey_policy_mismatch 0\n");
    expect(await ready(one)).toMatchObject({ ready: true });
    await grant(one);
  });

  it("answers every route that may give something with that, and no other", async () => {
    const { other } = await startMismatched();
    for (const [name, { method, path, underAnyPolicy = false }] of Object.entries<Route>(ROUTES)) {
      if (method === "GET") continue;
      const answer = await fetch(other.url + path.replaceAll(/\{[a-z]+\}/g, "x"), { method });
      expect([name, answer.headers.get("valetkey-error")]).toEqual([
        name,
        underAnyPolicy ? "proof_invalid" : "policy_mismatch",
      ]);
    }
  });

  it("stops what it is told to, and is read from", async () => {
    const { one, other } = await startMismatched();
    const { id } = await grant(one);
    const security = other.as("security-1");
    expect((await security.call("readGrant", { params: { id } })).status).toBe("active");
    await security.call("endGrant", { params: { id }, body: { reason: "test" } });
    const later = await grant(one);
    const { liveGrants } = await security.call("revoke", { body: { target: { agent: "coder" }, reason: "test" } });
    expect(liveGrants).toBe(1);
    expect((await one.as("coder").call("readGrant", { params: { id: later.id } })).status).toBe("ended");
    await security.call("freeze", { params: { name: "coder" }, body: { reason: "test" } });
    await expect(ask(one)).rejects.toMatchObject({ code: "agent_frozen" });
  });

  it("goes on when it has the one in force, or when a person activates its own", async () => {
    const { one, other } = await startMismatched();
    const [has, inForce] = [other.broker.policy.digest, one.broker.policy.digest];
    expect(await activate(other, has, inForce)).toMatchObject({ digest: has, previous: inForce });
    await grant(other);
    await expect.poll(async () => (await ready(one)).ready, { timeout: 10_000 }).toBe(false);
    await expect(ask(one)).rejects.toMatchObject({ code: "policy_mismatch" });
    replicas.folder.writeScopes("more.yaml", PREVIEW);
    await one.broker.reload();
    expect(await ready(one)).toMatchObject({ ready: true, problems: [] });
    await grant(one);
  });
});

describe("a broker that is told its policy's digest", { timeout: 60_000 }, () => {
  it("does not start with another one, and names both", async () => {
    const first = await replicas.start();
    const { digest } = first.broker.policy;
    await replicas.start({ VALETKEY_SCOPES_DIGEST: digest });
    const other = "c".repeat(64);
    const start = replicas.start({ VALETKEY_SCOPES_DIGEST: other });
    await expect(start).rejects.toThrow(new RegExp(`VALETKEY_SCOPES_DIGEST demands policy ${other}.*${digest}`));
  });

  it("refuses another one at a reload, on record", async () => {
    const first = await replicas.start();
    const { digest } = first.broker.policy;
    const pinned = await replicas.start({ VALETKEY_SCOPES_DIGEST: digest });
    replicas.folder.writeScopes("more.yaml", PREVIEW);
    await pinned.broker.reload();
    expect((await scopesOf(pinned)).pending).toBeNull();
    expect((await readEvents(pinned)).findLast(({ type }) => type === "policy.rejected")).toMatchObject({
      problems: [expect.stringContaining("VALETKEY_SCOPES_DIGEST demands")],
    });
  });
});
