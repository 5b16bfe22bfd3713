// Grants through the front door: a real broker, the real client, the shipped sample.

import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GrantAnswer } from "../../src/api/grants.ts";
import type { AnswerOf } from "../../src/sdk/api-client.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { readEvents } from "../support/read-events.ts";
import { jwtOf } from "../support/jwt-of.ts";

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const TASK = "fix staging credentials";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

/** The answer with a credential; anything else fails the test. */
function granted(answer: AnswerOf<"requestGrant"> | AnswerOf<"renewCredential">): GrantAnswer {
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer;
}

const request = async (body: object = {}, name = "coder") =>
  granted(await broker.as(name).call("requestGrant", { body: { task: TASK, permissions: [DOMAIN], ...body } }));

describe("a grant", () => {
  it("carries an RFC 9068 JWT for one deployment, verifiable with the published keys alone", async () => {
    const { grant, credential } = await request();
    const keys = createRemoteJWKSet(new URL(`${broker.url}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(jwtOf(credential).value, keys, {
      issuer: broker.url,
      audience: "https://staging.shop.example",
      typ: "at+jwt",
      algorithms: ["ES256"],
    });
    expect(payload).toMatchObject({
      sub: "coder",
      client_id: "coder",
      aud: "https://staging.shop.example",
      jti: credential.id,
      grants: [grant.id],
      task: TASK,
      role: "domain-editor",
      environment: ["staging"],
      authorization_details: [{ type: "capability", actions: ["domain:write"], identifier: DOMAIN.resource }],
    });
    expect(payload).not.toHaveProperty("from");
    expect(decodeProtectedHeader(jwtOf(credential).value)).toMatchObject({ alg: "ES256", typ: "at+jwt" });
  });

  it("gives a credential that never outlives the grant, nor the role's credential ttl", async () => {
    const short = await request({ ttl: "60s" });
    expect(Date.parse(short.credential.expiresAt)).toBeLessThanOrEqual(Date.parse(short.grant.endsAt ?? ""));
    const long = await request({ ttl: "10m" });
    expect(Date.parse(long.credential.expiresAt) - Date.parse(long.grant.issuedAt)).toBeLessThanOrEqual(300_000);
    expect(Date.parse(long.grant.endsAt ?? "") - Date.parse(long.grant.issuedAt)).toBe(600_000);
  });

  it("is on record before its credential is answered, with agent, owner, task, role and the credential's id", async () => {
    const { grant, credential } = await request();
    const event = (await readEvents(broker)).find((one) => one["grant"] === grant.id);
    expect(event).toMatchObject({
      type: "grant.issued",
      agent: "coder",
      owner: "admin-1",
      task: TASK,
      role: "domain-editor",
      credential: credential.id,
      upstream: "shop-staging",
    });
  });

  it("never shows its credential a second time, nor in the record", async () => {
    const { grant, credential } = await request();
    const read = await broker.as("security-1").call("readGrant", { params: { id: grant.id } });
    expect(JSON.stringify(read)).not.toContain(jwtOf(credential).value);
    const signature = jwtOf(credential).value.split(".")[2] ?? "";
    expect(JSON.stringify(await readEvents(broker))).not.toContain(signature);
  });

  it("answers no-store", async () => {
    const response = await broker.as("coder").callRaw("requestGrant", { body: { task: TASK, permissions: [DOMAIN] } });
    expect(response.headers.get("cache-control")).toBe("no-store");
    await response.body?.cancel();
  });
});

describe("refusals", () => {
  it("names the labels that differ when staging asks for production, before any other reason", async () => {
    const ask = broker.as("coder").call("requestGrant", {
      body: { task: TASK, permissions: [{ action: "volume:delete", resource: "shop-production:volume/database" }] },
    });
    await expect(ask).rejects.toMatchObject({
      code: "environment_mismatch",
      status: 403,
      reasons: expect.arrayContaining([
        expect.objectContaining({
          code: "environment_mismatch",
          labels: { agent: ["staging"], resource: ["production"] },
        }),
      ]),
    });
    const last = (await readEvents(broker)).findLast((event) => event["type"] === "grant.refused");
    expect(last).toMatchObject({
      agent: "coder",
      permissions: [{ action: "volume:delete", environments: ["production"] }],
    });
  });

  it("refuses the volume that both environments share: every value of the label counts", async () => {
    const ask = broker.as("coder").call("requestGrant", {
      body: { task: TASK, permissions: [{ action: "volume:read", resource: "shop-staging:volume/shared" }] },
    });
    await expect(ask).rejects.toMatchObject({ code: "environment_mismatch" });
  });

  it("holds a permission that requires approvals, and gives no credential", async () => {
    const answer = await broker.as("coder").call("requestGrant", {
      body: {
        task: TASK,
        permissions: [{ action: "volume:delete", resource: "shop-staging:volume/uploads" }],
        reason: "they are not used any more",
      },
    });
    expect(answer).toMatchObject({
      grant: { status: "held", endsAt: null },
      hold: { kind: "grant", state: "waiting" },
    });
    expect(answer).not.toHaveProperty("credential");
  });

  it("refuses a permission that requires a reason where none is given", async () => {
    const ask = broker.as("coder").call("requestGrant", {
      body: { task: TASK, permissions: [{ action: "volume:delete", resource: "shop-staging:volume/uploads" }] },
    });
    await expect(ask).rejects.toMatchObject({ code: "reason_missing" });
  });

  it("refuses a grant of two upstreams as malformed", async () => {
    const permissions = [DOMAIN, { action: "domain:write", resource: "shop-production:service/web" }];
    await expect(broker.as("coder").call("requestGrant", { body: { task: TASK, permissions } })).rejects.toMatchObject({
      code: "malformed_request",
    });
    expect((await readEvents(broker)).at(-1)).toMatchObject({ type: "grant.refused", agent: "coder" });
  });

  it("refuses a ttl beyond the role's, and says which rule", async () => {
    const ask = broker.as("coder").call("requestGrant", { body: { task: TASK, permissions: [DOMAIN], ttl: "365d" } });
    await expect(ask).rejects.toMatchObject({ code: "role_does_not_permit" });
  });

  it("refuses people and services that ask for grants", async () => {
    for (const name of ["admin-1", "security-1", "shop-verifier"]) {
      const ask = broker.as(name).call("requestGrant", { body: { task: TASK, permissions: [DOMAIN] } });
      await expect(ask).rejects.toMatchObject({ code: "power_missing" });
    }
  });
});

describe("a dry run", () => {
  it("says what would happen, grants nothing and is recorded", async () => {
    const before = await broker.as("coder").call("listGrants", { query: { task: "only looking" } });
    const answer = await broker
      .as("coder")
      .call("requestGrant", { body: { task: "only looking", permissions: [DOMAIN], dryRun: true } });
    expect(answer).toMatchObject({ outcome: "allowed", role: "domain-editor", upstream: "shop-staging" });
    expect(await broker.as("coder").call("listGrants", { query: { task: "only looking" } })).toEqual(before);
    expect((await readEvents(broker)).at(-1)).toMatchObject({ type: "grant.simulated", decision: "allowed" });
  });

  it("counts towards the limit, so that nobody probes for free (rule 11)", async () => {
    const fresh = await startTestBroker();
    try {
      const probe = () =>
        fresh.as("coder").call("requestGrant", { body: { task: TASK, permissions: [DOMAIN], dryRun: true } });
      for (let i = 0; i < 30; i++) await probe();
      await expect(probe()).rejects.toMatchObject({ code: "limit_reached", status: 429 });
      fresh.clock.advance(60_001);
      await probe();
    } finally {
      await fresh.close();
    }
  });
});

describe("the life of a grant", () => {
  it("renews its credential within its life, and not after", async () => {
    const { grant } = await request({ ttl: "2m" });
    const renewed = granted(await broker.as("coder").call("renewCredential", { params: { id: grant.id } }));
    expect(renewed.grant).toMatchObject({ id: grant.id, endsAt: grant.endsAt });
    expect(Date.parse(renewed.credential.expiresAt)).toBeLessThanOrEqual(Date.parse(grant.endsAt ?? ""));
    broker.clock.advance(120_001);
    await expect(broker.as("coder").call("renewCredential", { params: { id: grant.id } })).rejects.toMatchObject({
      code: "conflict",
    });
    const read = await broker.as("coder").call("readGrant", { params: { id: grant.id } });
    expect(read).toMatchObject({ status: "ended", endedBy: "expiry" });
  });

  it("is released by its agent, twice with the same answer, and renews no more", async () => {
    const { grant } = await request();
    const first = await broker.as("coder").call("endGrant", { params: { id: grant.id } });
    expect(first.status).toBe("ended");
    expect(await broker.as("coder").call("endGrant", { params: { id: grant.id } })).toEqual(first);
    await expect(broker.as("coder").call("renewCredential", { params: { id: grant.id } })).rejects.toMatchObject({
      code: "conflict",
    });
  });

  it("is as absent as if it never was to another agent", async () => {
    const { grant } = await request();
    const other = broker.as("other-agent");
    await expect(other.call("readGrant", { params: { id: grant.id } })).rejects.toMatchObject({ code: "not_found" });
    await expect(other.call("renewCredential", { params: { id: grant.id } })).rejects.toMatchObject({
      code: "not_found",
    });
    await expect(other.call("endGrant", { params: { id: grant.id } })).rejects.toMatchObject({ code: "not_found" });
    expect((await other.call("listGrants", {})).grants.map((one) => one.id)).not.toContain(grant.id);
    await expect(other.call("listGrants", { query: { agent: "coder" } })).rejects.toMatchObject({
      code: "power_missing",
    });
    expect(await broker.as("coder").call("readGrant", { params: { id: grant.id } })).toMatchObject({
      status: "active",
    });
  });

  it("lets a long poll answer as soon as it ends", async () => {
    const { grant } = await request();
    const waited = broker.as("security-1").call("readGrant", { params: { id: grant.id }, query: { wait: 20 } });
    await broker.as("coder").call("endGrant", { params: { id: grant.id } });
    expect(await waited).toMatchObject({ status: "ended", endedBy: "coder" });
  });

  it("pages through lists, newest first, without losing or repeating one", async () => {
    const fresh = await startTestBroker();
    try {
      const ids: string[] = [];
      for (let i = 0; i < 7; i++) {
        const answer = granted(
          await fresh.as("coder").call("requestGrant", { body: { task: `task ${i}`, permissions: [DOMAIN] } }),
        );
        ids.push(answer.grant.id);
      }
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await fresh.as("coder").call("listGrants", { query: { limit: 3, after } });
        seen.push(...page.grants.map((grant) => grant.id));
        after = page.next ?? undefined;
      } while (after !== undefined);
      expect(seen.toSorted()).toEqual(ids.toSorted());
      expect(seen).toEqual(seen.toSorted().toReversed());
    } finally {
      await fresh.close();
    }
  });
});
