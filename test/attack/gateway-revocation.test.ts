// Security stops what goes through the gateway: the next call is refused, of two hundred under way none is accepted after
// the answer, a streaming answer is cut, and what is on record but not sent yet is not sent (semantics, rules 9, 12, 31).

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RevocationTarget } from "../../src/api/revocations.ts";
import { type OddGateway, startOddGateway } from "../support/odd-gateway.ts";
import { type Behaviour, PATIENCE, plain, raw } from "../support/odd-upstream.ts";
import { readEvents } from "../support/read-events.ts";

const TASK = "read things";
const STREAM = raw(
  "HTTP/1.1 200 OK",
  "Content-Type: text/event-stream",
  "Transfer-Encoding: chunked",
  "",
  "5",
  "hello",
  "",
);

const ROLE = `kind: Role
name: thing-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [thing:read, thing:change], resources: { upstream: odd } }
`;
const LIMITED = `---
kind: Role
name: thing-user
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [thing:read, thing:change], resources: { upstream: counted } }
limits: { uses: 5 }
---
kind: Role
name: thing-hasty
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [thing:read, thing:change], resources: { upstream: hasty } }
limits: { perMinute: 4 }
`;

let gateway: OddGateway;
beforeAll(async () => {
  // Patient enough for what is held open here.
  const more = "addresses: [127.0.0.1/32]\nlimits: { timeout: 30s }";
  gateway = await startOddGateway({ role: ROLE + LIMITED, more, names: ["odd", "counted", "hasty"] });
});
beforeEach(() => {
  // Refusals are limited per minute.
  gateway.broker.clock.advance(61_000);
  gateway.behave(plain("hello"));
});
afterAll(() => gateway.close());

const security = () => gateway.broker.as("security-1");
const revoke = (target: RevocationTarget) => security().call("revoke", { body: { target, reason: "test" } });
const get = async (credential: string) => {
  const answer = await gateway.get({ credential });
  await answer.text().catch(() => undefined);
  return { status: answer.status, error: answer.headers.get("valetkey-error") };
};
/** Opens again what a revocation of a task or a freeze has closed. */
async function reopen(id: string): Promise<void> {
  await security()
    .call("reopen", { params: { id }, body: { reason: "test" } })
    .catch(() => undefined);
}

describe("a revocation", () => {
  const targets: readonly (readonly [string, (grant: `grt_${string}`) => RevocationTarget])[] = [
    ["grant", (grant) => ({ grant })],
    ["agent", () => ({ agent: "coder" })],
    ["task", () => ({ task: TASK })],
    ["role", () => ({ role: "thing-worker" })],
    ["environment", () => ({ environment: "staging" })],
    ["upstream", () => ({ upstream: "odd" })],
    ["everything", () => ({ everything: true })],
  ];
  for (const [name, target] of targets) {
    it(`by ${name} refuses the next call, which the upstream does not see, and cuts an answer that streams`, async () => {
      const { grant, credential } = await gateway.grant();
      expect(await get(credential.value)).toEqual({ status: 200, error: null });
      gateway.behave(STREAM);
      const streaming = await gateway.get({ credential: credential.value });
      expect(streaming.status).toBe(200);
      const { revocation, liveGrants } = await revoke(target(grant.id));
      expect(liveGrants).toBeGreaterThan(0);
      const before = gateway.upstream.requests.length;
      expect(await get(credential.value)).toEqual({ status: 403, error: "cut_off" });
      expect(gateway.upstream.requests).toHaveLength(before);
      await expect(streaming.text()).rejects.toThrow("terminated");
      const events = async () => (await readEvents(gateway.broker)).filter((event) => event["grant"] === grant.id);
      const refused = {
        type: "call.refused",
        reasons: [expect.objectContaining({ code: "cut_off", rule: revocation.id })],
      };
      await expect
        .poll(events, PATIENCE)
        .toEqual(
          expect.arrayContaining([
            expect.objectContaining(refused),
            expect.objectContaining({ type: "call.forwarded", cut: expect.any(String) }),
          ]),
        );
      await reopen(revocation.id);
    });
  }

  it("is the reason on record where it cut an answer: the caller did not go away", async () => {
    const { grant, credential } = await gateway.grant();
    gateway.behave(STREAM);
    const streaming = await gateway.get({ credential: credential.value });
    await revoke({ grant: grant.id });
    await expect(streaming.text()).rejects.toThrow("terminated");
    const outcome = async () => (await gateway.outcome())?.["cut"];
    await expect.poll(outcome, { timeout: 2000 }).toBe("cut_off");
  });

  it("by a freeze does the same", async () => {
    const { credential } = await gateway.grant();
    gateway.behave(STREAM);
    const streaming = await gateway.get({ credential: credential.value });
    await security().call("freeze", { params: { name: "coder" }, body: { reason: "test" } });
    expect(await get(credential.value)).toMatchObject({ status: 403 });
    await expect(streaming.text()).rejects.toThrow("terminated");
    await security().call("unfreeze", { params: { name: "coder" }, body: { reason: "test" } });
    // Nothing revives.
    expect(await get(credential.value)).toEqual({ status: 403, error: "cut_off" });
  });

  it("leaves alone what it does not match", async () => {
    const { credential } = await gateway.grant();
    gateway.behave(STREAM);
    const streaming = await gateway.get({ credential: credential.value });
    for (const target of [
      { task: "another" },
      { agent: "other-agent" },
      { role: "reader" },
      { environment: "production" },
    ]) {
      await revoke(target);
    }
    gateway.behave(plain("hello"));
    expect(await get(credential.value)).toEqual({ status: 200, error: null });
    await streaming.body?.cancel();
  });

  it("by its agent's own release, or by a person's end, refuses the next call", async () => {
    for (const who of ["coder", "security-1"]) {
      const { grant, credential } = await gateway.grant();
      await gateway.broker.as(who).call("endGrant", { params: { id: grant.id }, body: {} });
      const before = gateway.upstream.requests.length;
      expect((await get(credential.value)).error).toMatch(/^(?:credential_expired|cut_off)$/);
      expect(gateway.upstream.requests).toHaveLength(before);
    }
  });

  it("of 200 calls under way accepts none after its answer", async () => {
    const { grant, credential } = await gateway.grant();
    let isRevoked = false;
    const before = gateway.upstream.requests.length;
    /** Calls until it is refused; true where one that began after the answer was accepted. */
    const caller = async (): Promise<readonly boolean[]> => {
      for (const late: boolean[] = []; ;) {
        const isLate = isRevoked;
        const { status } = await get(credential.value).catch(() => ({ status: 0 }));
        if (isLate) late.push(status === 200);
        if (late.length === 2) return late;
      }
    };
    const callers = Array.from({ length: 200 }, caller);
    await expect.poll(() => gateway.upstream.requests.length, PATIENCE).toBeGreaterThan(before + 100);
    const { revocation } = await revoke({ grant: grant.id });
    isRevoked = true;
    const accepted = (await Promise.all(callers)).flat();
    expect(accepted).toHaveLength(400);
    expect(accepted.filter((isAccepted) => isAccepted)).toEqual([]);
    // The record says the same: nothing was allowed behind the cut-off.
    const events = await readEvents(gateway.broker);
    const cut = events.findIndex((event) => event["revocation"] === revocation.id || event["cutOff"] === revocation.id);
    expect(cut).toBeGreaterThan(0);
    const later = events.slice(cut).filter((event) => event["grant"] === grant.id && event["type"] === "call.allowed");
    expect(later).toEqual([]);
  });

  it("stops a call that is on record and waits to be sent", async () => {
    const { grant, credential } = await gateway.grant();
    const before = gateway.upstream.requests.length;
    const held: Parameters<Behaviour>[1][] = [];
    gateway.behave((_request, response) => void held.push(response));
    // As many as there are sockets to one origin: the next one has to wait for one of them.
    const sockets = 64;
    const calls = Array.from({ length: sockets + 1 }, () =>
      get(credential.value).catch(() => ({ status: 0, error: null })),
    );
    const allowed = async () =>
      (await readEvents(gateway.broker)).filter((one) => one["type"] === "call.allowed" && one["grant"] === grant.id)
        .length;
    await expect.poll(() => held.length, PATIENCE).toBe(sockets);
    await expect.poll(allowed, PATIENCE).toBe(sockets + 1);
    await revoke({ grant: grant.id });
    const answers = await Promise.all(calls);
    expect(answers.filter(({ status }) => status === 200)).toEqual([]);
    expect(gateway.upstream.requests.length - before).toBe(sockets);
    const stopped = async () =>
      (await readEvents(gateway.broker))
        .filter((one) => one["grant"] === grant.id && one["cause"] === "cut_off")
        .map(({ type }) => String(type))
        .toSorted();
    const unknown = Array.from({ length: sockets }, () => "call.unknown");
    await expect.poll(stopped, PATIENCE).toEqual(["call.undelivered", ...unknown]);
  });
});

describe("a policy that gives less", () => {
  it("ends the grants of the gateway that it would not give, at once and for good", async () => {
    const { credential } = await gateway.grant();
    gateway.behave(STREAM);
    const streaming = await gateway.get({ credential: credential.value });
    gateway.behave(plain("hello"));
    gateway.broker.writeScopes("test-roles.yaml", ROLE.replace("thing:read, ", "") + LIMITED);
    await gateway.broker.broker.reload();
    const before = gateway.upstream.requests.length;
    expect((await get(credential.value)).status).toBe(403);
    expect(gateway.upstream.requests).toHaveLength(before);
    await expect(streaming.text()).rejects.toThrow("terminated");
    gateway.broker.writeScopes("test-roles.yaml", ROLE + LIMITED);
    await gateway.broker.broker.reload();
    expect(await get(credential.value)).toEqual({ status: 403, error: "cut_off" });
    expect(await get((await gateway.grant()).credential.value)).toEqual({ status: 200, error: null });
  });
});

describe("a limit", () => {
  const call = async (upstream: string, credential: string) => {
    const answer = await gateway.get({ upstream, credential });
    await answer.text();
    return answer.headers.get("valetkey-error");
  };

  it("of uses counts calls, and of 20 at once lets no more through than it has", async () => {
    const { credential } = await gateway.grant("counted");
    const before = gateway.upstream.requests.length;
    const answers = await Promise.all(Array.from({ length: 20 }, () => call("counted", credential.value)));
    expect(answers.filter((error) => error === null)).toHaveLength(5);
    expect(answers.filter((error) => error === "limit_reached")).toHaveLength(15);
    expect(gateway.upstream.requests.length - before).toBe(5);
    gateway.broker.clock.advance(61_000);
    // It is the grant's, not a minute's.
    expect(await call("counted", credential.value)).toBe("limit_reached");
    expect(await call("counted", (await gateway.grant("counted")).credential.value)).toBeNull();
  });

  it("per minute counts grants and calls together, across grants, and says when to come back", async () => {
    const [one, two] = [await gateway.grant("hasty"), await gateway.grant("hasty")];
    const first = await Promise.all([one, two].map(({ credential }) => call("hasty", credential.value)));
    expect(first).toEqual([null, null]);
    const answer = await gateway.get({ upstream: "hasty", credential: two.credential.value });
    expect([answer.status, answer.headers.get("valetkey-error")]).toEqual([429, "limit_reached"]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    await expect(gateway.grant("hasty")).rejects.toMatchObject({ code: "limit_reached" });
    gateway.broker.clock.advance(61_000);
    expect(await call("hasty", two.credential.value)).toBeNull();
  });
});
