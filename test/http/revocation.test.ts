// Security stops things: every target, freezes, closures, the feed, restarts.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RevocationTarget } from "../../src/api/revocations.ts";
import { createVerifier, type Verifier } from "../../src/sdk/verify.ts";
import { VerificationError } from "../../src/sdk/verification-error.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { readEvents } from "../support/read-events.ts";
import { jwtOf } from "../support/jwt-of.ts";

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
const reason = "test";
let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

async function grant(task = "t", name = "coder", on: TestBroker = broker) {
  const answer = await on.as(name).call("requestGrant", { body: { task, permissions: [DOMAIN] } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer;
}

const renew = (id: string, name = "coder") => broker.as(name).call("renewCredential", { params: { id } });
const revoke = (target: RevocationTarget) => broker.as("security-1").call("revoke", { body: { target, reason } });

describe("a cut-off", () => {
  const targets: [string, (id: `grt_${string}`) => RevocationTarget][] = [
    ["grant", (id) => ({ grant: id })],
    ["agent", () => ({ agent: "coder" })],
    ["task", () => ({ task: "a task of its own" })],
    ["role", () => ({ role: "domain-editor" })],
    ["environment", () => ({ environment: "staging" })],
    ["upstream", () => ({ upstream: "shop-staging" })],
    ["everything", () => ({ everything: true })],
  ];
  for (const [name, target] of targets) {
    it(`by ${name} voids what was issued, counts it, and lets what it does not match live`, async () => {
      const given = await grant("a task of its own");
      const { liveGrants, revocation } = await revoke(target(given.grant.id));
      expect(liveGrants).toBe(1);
      await expect(renew(given.grant.id)).rejects.toMatchObject({ code: "cut_off" });
      expect(await broker.as("coder").call("readGrant", { params: { id: given.grant.id } })).toMatchObject({
        status: "ended",
        endedBy: revocation.id,
      });
      if (name === "task")
        await broker.as("security-1").call("reopen", { params: { id: revocation.id }, body: { reason } });
      const later = await grant("a task of its own");
      expect(Date.parse(later.grant.issuedAt)).toBeGreaterThan(Date.parse(revocation.before));
      await renew(later.grant.id);
      await broker.as("coder").call("endGrant", { params: { id: later.grant.id } });
    });
  }

  it("on a task closes it to new requests until a person reopens it, and reopening revives nothing (rule 13)", async () => {
    const before = await grant("risky task");
    const { revocation } = await revoke({ task: "risky task" });
    await expect(grant("risky task")).rejects.toMatchObject({ code: "cut_off" });
    await expect(grant("risky task", "other-agent")).rejects.toMatchObject({ code: "cut_off" });
    await broker.as("security-1").call("reopen", { params: { id: revocation.id }, body: { reason } });
    await grant("risky task");
    await expect(renew(before.grant.id)).rejects.toMatchObject({ code: "cut_off" });
    await expect(
      broker.as("security-1").call("reopen", { params: { id: revocation.id }, body: { reason } }),
    ).rejects.toMatchObject({ code: "conflict" });
  });

  it("warns of a name that policy does not know, and stands all the same", async () => {
    const answer = await revoke({ agent: "codr" });
    expect(answer).toMatchObject({ liveGrants: 0, warning: expect.stringContaining("codr") });
  });

  it("names exactly one target", async () => {
    for (const target of [{}, { agent: "coder", role: "domain-editor" }, { everything: false }, { who: "coder" }]) {
      await expect(broker.as("security-1").call("revoke", { body: { target, reason } })).rejects.toMatchObject({
        code: "malformed_request",
      });
    }
  });

  it("of one grant is what a person's end of it is: verifiers must learn it", async () => {
    const given = await grant();
    await broker.as("security-1").call("endGrant", { params: { id: given.grant.id }, body: { reason } });
    const { revocations } = await broker.as("security-1").call("listRevocations", {});
    expect(revocations.some((one) => one.target.grant === given.grant.id)).toBe(true);
    expect((await readEvents(broker)).at(-1)).toMatchObject({
      type: "grant.revoked",
      person: "security-1",
      grant: given.grant.id,
    });
  });

  it("survives a restart, and so does what it closed", async () => {
    const given = await grant("to be closed");
    await revoke({ task: "to be closed" });
    broker = await broker.restart();
    await expect(renew(given.grant.id)).rejects.toMatchObject({ code: "cut_off" });
    await expect(grant("to be closed")).rejects.toMatchObject({ code: "cut_off" });
  });

  it("is forgotten once nothing that it could match can be alive, by the longest life ever given (rule 14)", async () => {
    const fresh = await startTestBroker();
    try {
      await grant("t", "coder", fresh);
      await fresh.as("security-1").call("revoke", { body: { target: { agent: "coder" }, reason } });
      const lowered = await fresh.restart({ VALETKEY_MAX_TTL: "1m" });
      lowered.clock.advance(9 * 60_000);
      expect((await lowered.as("security-1").call("listRevocations", {})).revocations).toHaveLength(1);
      lowered.clock.advance(2 * 60_000);
      expect((await lowered.as("security-1").call("listRevocations", {})).revocations).toHaveLength(0);
      await lowered.close();
    } finally {
      await fresh.close();
    }
  });
});

describe("a freeze", () => {
  it("ends everything of the agent and gives it nothing more until a person who is not its owner lifts it", async () => {
    const given = await grant("t", "other-agent");
    const security = broker.as("security-1");
    const frozen = await security.call("freeze", { params: { name: "other-agent" }, body: { reason } });
    expect(frozen).toMatchObject({ frozen: true, liveGrants: 1 });
    await expect(renew(given.grant.id, "other-agent")).rejects.toMatchObject({ code: "agent_frozen" });
    await expect(grant("t", "other-agent")).rejects.toMatchObject({ code: "agent_frozen" });
    expect((await security.call("listRevocations", {})).frozen).toEqual(["other-agent"]);
    // security-1 owns other-agent.
    await expect(
      security.call("unfreeze", { params: { name: "other-agent" }, body: { reason } }),
    ).rejects.toMatchObject({ code: "power_missing" });
    await expect(grant("t", "other-agent")).rejects.toMatchObject({ code: "agent_frozen" });
    await grant("t", "coder");
  });

  it("is lifted by another person, revives nothing, and cannot be lifted twice", async () => {
    const given = await grant();
    const security = broker.as("security-1");
    await security.call("freeze", { params: { name: "coder" }, body: { reason } });
    await expect(grant()).rejects.toMatchObject({ code: "agent_frozen" });
    broker = await broker.restart();
    await expect(grant()).rejects.toMatchObject({ code: "agent_frozen" });
    await broker.as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason } });
    await expect(renew(given.grant.id)).rejects.toMatchObject({ code: "cut_off" });
    await grant();
    await expect(
      broker.as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason } }),
    ).rejects.toMatchObject({ code: "conflict" });
  });

  it("of an agent that does not exist is not_found, so that a typing error is seen", async () => {
    await expect(
      broker.as("security-1").call("freeze", { params: { name: "codr" }, body: { reason } }),
    ).rejects.toMatchObject({
      code: "not_found",
    });
  });
});

const codeOf = (error: unknown): string => (error instanceof VerificationError ? error.code : String(error));

describe("an offline verifier on the real feed", () => {
  const verifierOf = (on: TestBroker, environment = "staging"): Verifier =>
    createVerifier({
      issuer: on.url,
      audience: "https://staging.shop.example",
      environment,
      name: "shop-verifier",
      key: on.keyOf("shop-verifier"),
      clock: on.clock,
    });

  it("accepts a credential until it is cut off, and refuses it right after", async () => {
    const verifier = verifierOf(broker);
    try {
      await verifier.ready();
      const { credential } = await grant("verified task");
      const call = () => verifier.verify(jwtOf(credential).value, DOMAIN);
      expect(await call()).toMatchObject({ agent: "coder", task: "verified task" });
      await revoke({ task: "verified task" });
      await expect.poll(() => call().then(() => "accepted", codeOf), { timeout: 2000, interval: 5 }).toBe("cut_off");
    } finally {
      verifier.close();
    }
  });

  it("refuses at once what a compromised key signed, and accepts what the next one signs", async () => {
    const verifier = verifierOf(broker);
    try {
      await verifier.ready();
      const old = await grant("before the rotation");
      await verifier.verify(jwtOf(old.credential).value, DOMAIN);
      await broker.as("admin-1").call("rotateKeys", { body: { compromised: true } });
      const refused = () =>
        verifier.verify(jwtOf(old.credential).value, DOMAIN).then(
          () => "accepted",
          () => "refused",
        );
      await expect.poll(refused, { timeout: 5000, interval: 10 }).toBe("refused");
      const fresh = await grant("after the rotation");
      const accepted = () => verifier.verify(jwtOf(fresh.credential).value, DOMAIN).then(() => "accepted", codeOf);
      await expect.poll(accepted, { timeout: 10_000, interval: 50 }).toBe("accepted");
    } finally {
      verifier.close();
    }
  });

  it("keeps accepting through an ordinary rotation", async () => {
    const verifier = verifierOf(broker);
    try {
      await verifier.ready();
      const old = await grant("ordinary");
      await broker.as("admin-1").call("rotateKeys", { body: {} });
      const fresh = await grant("ordinary");
      await verifier.verify(jwtOf(old.credential).value, DOMAIN);
      await verifier.verify(jwtOf(fresh.credential).value, DOMAIN);
    } finally {
      verifier.close();
    }
  });

  it("cannot follow as an agent, nor after policy has forgotten its name", async () => {
    await expect(broker.as("coder").callRaw("followRevocations", {})).rejects.toMatchObject({ code: "power_missing" });
  });
});
