// The contract of grants: checks in their order, one transaction each, limits exact, lists that tell the truth.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { idAt } from "./ids-at.ts";
import { instantOf } from "../../src/core/ids.ts";
import { MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import type { GrantFilter, GrantPort } from "../../src/grants/grant-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import {
  activate,
  cut,
  cutOffCommand,
  draftGrant,
  eventOf,
  grantFrom,
  issue,
  MINUTE,
  type Opened,
  POLICY,
  proofAt,
  release,
  renew,
  T0,
} from "./drafts.ts";

type Ports = GrantPort & RecordPort & RevocationPort;

const LIMIT = { agent: "coder", role: "domain-editor", perMinute: 5 };

export function describeGrantPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`grants in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
    });
    afterEach(() => opened.close());

    function simulate(at: number, limit: typeof LIMIT | null = null): ReturnType<GrantPort["simulate"]> {
      const { agent, task } = draftGrant();
      return port.simulate({
        at,
        proof: proofAt(at),
        limit,
        agent,
        task,
        policyDigest: POLICY,
        event: eventOf("grant.simulated"),
      });
    }

    async function idsOf(filter: GrantFilter, at = T0, limit = 100): Promise<string[]> {
      return (await port.list(filter, at, limit)).map((found) => found.grant.id);
    }

    it("writes grant and event together, the id carrying the instant", async () => {
      const draft = draftGrant({ crossingFrom: ["production"] });
      const answer = await port.issue({
        at: T0,
        proof: proofAt(T0),
        limit: null,
        grant: draft,
        event: eventOf("grant.issued"),
      });
      if (answer.outcome !== "issued") throw new Error(answer.outcome);
      const { random, ...rest } = draft;
      const { id } = answer.grant;
      expect(answer.grant).toEqual({
        ...rest,
        id,
        issuedAt: T0,
        endsAt: T0 + 600_000,
        endedAt: null,
        endedBy: null,
        hold: null,
        version: 1,
      });
      expect(id.endsWith(random)).toBe(true);
      expect(instantOf(id)).toBe(T0);
      expect(await port.find(id)).toEqual({ grant: answer.grant, cutOff: null });
      expect(JSON.parse((await port.read(1, 1))[0] ?? "")).toMatchObject({ type: "grant.issued", grant: id, seq: 2 });
    });

    it("finds nothing under an unknown id, and everything again after a restart", async () => {
      expect(await port.find(idAt("grt", T0))).toBeNull();
      const grant = await grantFrom(port, T0);
      port = await opened.reopen();
      expect(await port.find(grant.id)).toEqual({ grant, cutOff: null });
    });

    it("refuses a policy that is not in force, and says which one is", async () => {
      expect(await issue(port, T0, { policyDigest: "b".repeat(64) })).toEqual({
        outcome: "policy_changed",
        digest: POLICY,
      });
      await port.activatePolicy({ at: T0, digest: "b".repeat(64), event: eventOf("policy.activated") });
      expect(await issue(port, T0)).toEqual({ outcome: "policy_changed", digest: "b".repeat(64) });
      expect((await issue(port, T0, { policyDigest: "b".repeat(64) })).outcome).toBe("issued");
    });

    it("never goes back in time: small steps are smoothed, larger ones refused, across restarts", async () => {
      await grantFrom(port, T0);
      port = await opened.reopen();
      expect((await grantFrom(port, T0 - 30_000)).issuedAt).toBe(T0);
      expect(await issue(port, T0 - 30_001)).toEqual({ outcome: "clock_behind", instant: T0 });
      expect(await simulate(T0 - 30_001)).toEqual({ outcome: "clock_behind", instant: T0 });
      const grant = await grantFrom(port, T0);
      expect(await renew(port, T0 - 30_001, grant)).toEqual({ outcome: "clock_behind", instant: T0 });
      expect((await release(port, T0 - 30_001, grant)).outcome).toBe("released");
    });

    it("gives exactly perMinute of 100 concurrent requests, and the next when the oldest is a minute old", async () => {
      const answers = await Promise.all(Array.from({ length: 100 }, () => issue(port, T0, {}, { limit: LIMIT })));
      expect(answers.filter((answer) => answer.outcome === "issued")).toHaveLength(5);
      expect(answers.filter((answer) => answer.outcome !== "issued")[0]).toEqual({
        outcome: "limit_reached",
        retryAfterSeconds: 60,
      });
      expect(await issue(port, T0 + MINUTE - 1, {}, { limit: LIMIT })).toEqual({
        outcome: "limit_reached",
        retryAfterSeconds: 1,
      });
      expect((await issue(port, T0 + MINUTE, {}, { limit: LIMIT })).outcome).toBe("issued");
    });

    it("counts dry runs, per agent and role, across a restart, and not what was refused", async () => {
      for (let i = 0; i < 4; i++) expect((await simulate(T0 + i * 1000, LIMIT)).outcome).toBe("simulated");
      port = await opened.reopen();
      expect((await issue(port, T0 + 5000, {}, { limit: LIMIT })).outcome).toBe("issued");
      for (let i = 0; i < 3; i++) {
        expect(await simulate(T0 + 6000, LIMIT)).toEqual({ outcome: "limit_reached", retryAfterSeconds: 54 });
      }
      expect((await issue(port, T0 + 6000, {}, { limit: { ...LIMIT, role: "other" } })).outcome).toBe("issued");
      expect((await issue(port, T0 + 6000, {}, { limit: { ...LIMIT, agent: "other" } })).outcome).toBe("issued");
      expect((await issue(port, T0 + MINUTE, {}, { limit: LIMIT })).outcome).toBe("issued");
    });

    it("voids what was issued up to a cut-off and nothing after it, in the same millisecond too", async () => {
      const earlier = await grantFrom(port, T0);
      const cutOff = await cut(port, T0, { role: "domain-editor" });
      const later = await grantFrom(port, T0);
      expect(later.issuedAt).toBeGreaterThan(cutOff.before);
      expect((await port.find(earlier.id))?.cutOff).toBe(cutOff.id);
      expect((await port.find(later.id))?.cutOff).toBeNull();
      expect(await renew(port, T0 + 1, earlier)).toEqual({ outcome: "cut_off", revocation: cutOff.id });
      expect((await renew(port, T0 + 1, later)).outcome).toBe("renewed");
    });

    it("refuses new requests for a closed task, and those of a frozen agent before anything else of theirs", async () => {
      const { task } = draftGrant();
      const closed = await cut(port, T0, { task });
      expect(await issue(port, T0 + 1)).toEqual({ outcome: "cut_off", revocation: closed.id });
      expect(await simulate(T0 + 1)).toEqual({ outcome: "cut_off", revocation: closed.id });
      expect((await issue(port, T0 + 1, { task: "another" })).outcome).toBe("issued");
      await port.freeze({ ...cutOffCommand(T0 + 2, { agent: "coder" }), agent: "coder" });
      expect(await issue(port, T0 + 3)).toEqual({ outcome: "agent_frozen" });
      expect(await simulate(T0 + 3)).toEqual({ outcome: "agent_frozen" });
    });

    it("refuses a child of a voided parent, and never lets one outlive its parent", async () => {
      const parent = await grantFrom(port, T0, { ttlSeconds: 100 });
      const child = await grantFrom(port, T0 + 40_000, { parents: [parent.id], agent: "helper" });
      expect(child.endsAt).toBe(parent.endsAt);
      const cutOff = await cut(port, T0 + 40_000, { grant: parent.id });
      expect((await port.find(child.id))?.cutOff).toBe(cutOff.id);
      expect(await issue(port, T0 + 50_000, { parents: [parent.id] })).toEqual({
        outcome: "cut_off",
        revocation: cutOff.id,
      });
      await expect(issue(port, T0 + 50_000, { parents: [idAt("grt", T0)] })).rejects.toMatchObject({
        code: "conflict",
      });
    });

    it("renews only a live grant of the same agent, and changes nothing in it", async () => {
      const grant = await grantFrom(port, T0);
      expect(await renew(port, T0 + 5, grant)).toEqual({ outcome: "renewed", grant, instant: T0 + 5 });
      expect((await renew(port, T0 + 5, { ...grant, agent: "other" })).outcome).toBe("not_found");
      expect((await renew(port, T0 + 5, { ...grant, id: idAt("grt", T0) })).outcome).toBe("not_found");
      expect((await renew(port, grant.endsAt, grant)).outcome).toBe("ended");
      expect(await port.find(grant.id)).toEqual({ grant, cutOff: null });
    });

    it("releases once, for its own agent alone", async () => {
      const grant = await grantFrom(port, T0);
      expect((await release(port, T0 + 1, { ...grant, agent: "other" })).outcome).toBe("not_found");
      const released = { ...grant, endedAt: T0 + 1, endedBy: "coder", version: 2 };
      expect(await release(port, T0 + 1, grant)).toEqual({ outcome: "released", grant: released });
      const { seq } = await port.head();
      expect(await release(port, T0 + 2, grant)).toEqual({ outcome: "already_ended", grant: released });
      expect((await port.head()).seq).toBe(seq);
      expect((await renew(port, T0 + 2, grant)).outcome).toBe("ended");
      const racing = await grantFrom(port, T0 + 3);
      const outcomes = (await Promise.all(Array.from({ length: 20 }, () => release(port, T0 + 4, racing)))).map(
        (a) => a.outcome,
      );
      expect(outcomes.filter((outcome) => outcome === "released")).toHaveLength(1);
    });

    it("writes nothing of a grant whose event cannot be recorded, and its neighbours are unharmed", async () => {
      const event = eventOf("grant.issued", { reason: "x".repeat(MAX_LEAF_BYTES) });
      const grant = draftGrant();
      const refused = port.issue({ at: T0, proof: proofAt(T0), limit: LIMIT, grant, event });
      const neighbours = Promise.all(Array.from({ length: 5 }, () => issue(port, T0, {}, { limit: LIMIT })));
      await expect(refused).rejects.toMatchObject({ code: "audit_unavailable" });
      expect((await neighbours).map((answer) => answer.outcome)).toEqual(Array(5).fill("issued"));
      expect(await port.list({}, T0, 100)).toHaveLength(5);
      expect((await port.head()).seq).toBe(6);
    });

    it("undoes all of a transition that fails in the middle, and only that one", async () => {
      const { random } = draftGrant();
      expect((await issue(port, T0, { random })).outcome).toBe("issued");
      const before = await port.head();
      const limit = { ...LIMIT, perMinute: 3 };
      const first = [issue(port, T0, {}, { limit }), issue(port, T0, {}, { limit })];
      const again = issue(port, T0, { random });
      const last = issue(port, T0, {}, { limit });
      await expect(again).rejects.toMatchObject({ code: "internal" });
      expect((await Promise.all([...first, last])).map((answer) => answer.outcome)).toEqual([
        "issued",
        "issued",
        "issued",
      ]);
      expect((await issue(port, T0, {}, { limit })).outcome).toBe("limit_reached");
      expect((await port.head()).seq).toBe(before.seq + 3);
    });

    it("lists newest first by every field of the filter, and goes on after an id", async () => {
      const a = await grantFrom(port, T0);
      const b = await grantFrom(port, T0 + 1, { agent: "other", role: "reader" });
      const c = await grantFrom(port, T0 + 2, { task: "second", environments: ["production", "staging"] });
      const d = await grantFrom(port, T0 + 3, { upstream: "railway" });
      expect(await idsOf({})).toEqual([d.id, c.id, b.id, a.id]);
      expect(await idsOf({ agent: "coder" })).toEqual([d.id, c.id, a.id]);
      expect(await idsOf({ agent: "other", role: "reader" })).toEqual([b.id]);
      expect(await idsOf({ task: "second", agent: "other" })).toEqual([]);
      expect(await idsOf({ environment: "production" })).toEqual([c.id]);
      expect(await idsOf({ environment: "prod" })).toEqual([]);
      expect(await idsOf({ upstream: "railway" })).toEqual([d.id]);
      expect(await idsOf({}, T0, 2)).toEqual([d.id, c.id]);
      expect(await idsOf({ after: c.id }, T0, 2)).toEqual([b.id, a.id]);
    });

    it("judges the status at the instant that it is asked for: released, expired, cut off", async () => {
      const short = await grantFrom(port, T0, { ttlSeconds: 10 });
      const cutGrant = await grantFrom(port, T0, { task: "second" });
      const released = await grantFrom(port, T0);
      const live = await grantFrom(port, T0 + 1);
      await release(port, T0 + 2, released);
      const cutOff = await cut(port, T0 + 2, { task: "second" });
      expect((await idsOf({ status: "active" }, T0 + 3)).toSorted()).toEqual([short.id, live.id].toSorted());
      expect(await idsOf({ status: "active" }, T0 + 10_000)).toEqual([live.id]);
      expect((await idsOf({ status: "ended" }, T0 + 10_000)).toSorted()).toEqual(
        [short.id, cutGrant.id, released.id].toSorted(),
      );
      expect(await idsOf({ status: "active" }, live.endsAt)).toEqual([]);
      const listed = await port.list({ task: "second" }, T0 + 3, 10);
      expect(listed[0]?.cutOff).toBe(cutOff.id);
    });
  });
}
