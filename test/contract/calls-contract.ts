// The contract of gateway calls: refused in their order, counted exactly, on record before they are answered, and open
// until it is written down what became of them.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { newId } from "../../src/core/ids.ts";
import { MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import {
  activate,
  begin,
  cut,
  cutOffCommand,
  end,
  eventOf,
  grantFrom,
  issue,
  MINUTE,
  type Opened,
  POLICY,
  proofAt,
  release,
  T0,
} from "./drafts.ts";
import { idAt } from "./ids-at.ts";

type Ports = CallPort & GrantPort & RecordPort & RevocationPort;

const LIMIT = { agent: "coder", role: "domain-editor", perMinute: 5 };
const FREEZE = { agent: "coder" };
const HUGE = { reason: "x".repeat(MAX_LEAF_BYTES) };

export function describeCallPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`calls in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
    });
    afterEach(() => opened.close());

    async function lastEntry(): Promise<Record<string, unknown>> {
      const { seq } = await port.head();
      return JSON.parse((await port.read(seq - 1, 1))[0] ?? "") as Record<string, unknown>;
    }

    async function openIds(limit = 1000): Promise<string[]> {
      return (await port.openCalls(limit)).map(({ call }) => call);
    }

    /** The outcome of calls one after the other. */
    async function outcomes(count: number, act: () => ReturnType<CallPort["beginCall"]>): Promise<string[]> {
      const found: string[] = [];
      for (let i = 0; i < count; i++) found.push((await act()).outcome);
      return found;
    }

    it("has a call on record and open when it answers, and still open after a restart", async () => {
      const grant = await grantFrom(port, T0);
      const call = newId("req", T0);
      const event = eventOf("call.allowed", {
        request: call,
        grant: grant.id,
        permissions: [{ action: "a:b" }],
        owner: null,
      });
      expect(await begin(port, T0 + 1, grant, { call, event })).toEqual({ outcome: "begun", instant: T0 + 1 });
      expect(await lastEntry()).toMatchObject({ ...event.fields, seq: 3, time: new Date(T0 + 1).toISOString() });
      expect(await port.openCalls(10)).toEqual([{ call, fields: event.fields }]);
      port = await opened.reopen();
      expect(await port.openCalls(10)).toEqual([{ call, fields: event.fields }]);
      expect(await port.find(grant.id)).toEqual({ grant, cutOff: null });
    });

    it("ends a call once, with its event; one that is not open is not ended and has no event", async () => {
      const grant = await grantFrom(port, T0);
      const [first, second] = [newId("req", T0), newId("req", T0)];
      await begin(port, T0, grant, { call: first });
      await begin(port, T0, grant, { call: second });
      expect(await end(port, T0 + 5, first)).toBe(true);
      expect(await lastEntry()).toMatchObject({ type: "call.forwarded", request: first, status: 200 });
      expect(await openIds()).toEqual([second]);
      const before = await port.head();
      expect(await end(port, T0 + 6, first)).toBe(false);
      expect(await end(port, T0 + 6, newId("req", T0))).toBe(false);
      expect(await port.head()).toEqual(before);
      port = await opened.reopen();
      expect(await openIds()).toEqual([second]);
      const ended = await Promise.all(Array.from({ length: 20 }, () => end(port, T0 + 7, second)));
      expect(ended.filter(Boolean)).toHaveLength(1);
      expect((await port.head()).seq).toBe(before.seq + 1);
    });

    it("lists open calls oldest first, at most the limit", async () => {
      const grant = await grantFrom(port, T0);
      const calls = Array.from({ length: 6 }, (_, i) => newId("req", T0 + 1000 - i));
      for (const call of calls) await begin(port, T0, grant, { call });
      expect(await openIds(4)).toEqual(calls.slice(0, 4));
      expect(await openIds()).toEqual(calls);
    });

    it("refuses in the order of the contract, and writes and counts nothing of what it refuses", async () => {
      const voided = await grantFrom(port, T0, { ttlSeconds: 5 });
      const cutOff = await cut(port, T0, { grant: voided.id });
      const expired = await grantFrom(port, T0, { ttlSeconds: 5 });
      const others = await grantFrom(port, T0, { agent: "other" });
      await port.freeze({ ...cutOffCommand(T0, FREEZE, null), agent: "coder" });
      const at = T0 + 10_000;
      const last = { uses: 0, limit: { ...LIMIT, perMinute: 1 } };
      const stale = { ...last, policyDigest: "b".repeat(64) };
      await port.append({ at, proof: null, events: [eventOf("a.written")] });
      const unknown = { id: idAt("grt", T0), agent: "coder" };

      const { seq } = await port.head();
      expect(await begin(port, at - 30_001, unknown, stale)).toEqual({ outcome: "clock_behind", instant: at });
      expect(await begin(port, at, unknown, stale)).toEqual({ outcome: "policy_changed", digest: POLICY });
      expect(await begin(port, at, unknown, last)).toEqual({ outcome: "agent_frozen" });
      const thaw = { at, proof: proofAt(at), agent: "coder", event: eventOf("agent.unfrozen") };
      expect((await port.unfreeze(thaw)).outcome).toBe("unfrozen");
      expect(await begin(port, at, unknown, last)).toEqual({ outcome: "not_found" });
      expect(await begin(port, at, { ...others, agent: "coder" }, last)).toEqual({ outcome: "not_found" });
      expect(await begin(port, at, voided, last)).toEqual({ outcome: "cut_off", revocation: cutOff.id });
      expect((await begin(port, at, expired, last)).outcome).toBe("cut_off");
      const late = await grantFrom(port, at, { ttlSeconds: 5 });
      const live = await grantFrom(port, at, { ttlSeconds: 500 });
      expect(await begin(port, late.endsAt, late, last)).toEqual({ outcome: "ended" });
      expect((await begin(port, late.endsAt, live, { limit: last.limit })).outcome).toBe("begun");
      expect(await begin(port, late.endsAt, live, { ...last, uses: 1 })).toEqual({
        outcome: "uses_exhausted",
        uses: 1,
      });
      expect(await begin(port, late.endsAt, live, { ...last, uses: 2 })).toEqual({
        outcome: "limit_reached",
        retryAfterSeconds: 60,
      });
      expect((await begin(port, late.endsAt, live, { uses: 2 })).outcome).toBe("begun");
      // Unfrozen, two grants, two calls.
      expect((await port.head()).seq).toBe(seq + 5);
      expect(await openIds()).toHaveLength(2);
    });

    it("stops at once with whatever cuts its grant off, and reopening revives nothing", async () => {
      const task = "another task";
      for (const target of [{ task }, { agent: "coder" }, { role: "domain-editor" }, { environment: "staging" }]) {
        const grant = await grantFrom(port, T0, "task" in target ? { task } : {});
        expect((await begin(port, T0, grant)).outcome).toBe("begun");
        const cutOff = await cut(port, T0, target);
        expect(await begin(port, T0, grant)).toEqual({ outcome: "cut_off", revocation: cutOff.id });
        await port.reopen({ at: T0, proof: proofAt(T0), id: cutOff.id, event: eventOf("cutoff.reopened") });
        expect(await begin(port, T0, grant)).toEqual({ outcome: "cut_off", revocation: cutOff.id });
      }
      expect((await begin(port, T0, await grantFrom(port, T0))).outcome).toBe("begun");
    });

    it("begins no call after a cut-off is answered, and has none behind it in the record", async () => {
      const grant = await grantFrom(port, T0);
      const racing = Array.from({ length: 60 }, () => begin(port, T0, grant));
      const cutOff = cut(port, T0, { grant: grant.id });
      const more = Array.from({ length: 60 }, () => begin(port, T0, grant));
      await cutOff;
      expect((await begin(port, T0, grant)).outcome).toBe("cut_off");
      const begun = (await Promise.all([...racing, ...more])).filter(({ outcome }) => outcome === "begun");
      const types = (await port.read(0, 1000)).map((text) => (JSON.parse(text) as { type: string }).type);
      expect(types.filter((type) => type === "call.allowed")).toHaveLength(begun.length);
      expect(types.lastIndexOf("call.allowed")).toBeLessThan(types.indexOf("cutoff.created"));
    });

    it("lets a grant make calls until the millisecond of its end, or of its release", async () => {
      const grant = await grantFrom(port, T0, { ttlSeconds: 10 });
      const released = await grantFrom(port, T0);
      expect((await begin(port, grant.endsAt - 1, grant)).outcome).toBe("begun");
      expect((await begin(port, grant.endsAt, grant)).outcome).toBe("ended");
      expect((await begin(port, grant.endsAt, released)).outcome).toBe("begun");
      await release(port, grant.endsAt, released);
      expect((await begin(port, grant.endsAt, released)).outcome).toBe("ended");
    });

    it("never goes back in time, and writes down the end of a call whatever the clock says", async () => {
      const grant = await grantFrom(port, T0);
      const call = newId("req", T0);
      expect(await begin(port, T0 - 30_000, grant, { call })).toEqual({ outcome: "begun", instant: T0 });
      expect(await end(port, T0 - 3_600_000, call)).toBe(true);
      expect(await lastEntry()).toMatchObject({ type: "call.forwarded", time: new Date(T0).toISOString() });
    });

    it("gives exactly `uses` of 100 concurrent calls, across a restart too (rule 9)", async () => {
      const grant = await grantFrom(port, T0);
      const answers = await Promise.all(Array.from({ length: 100 }, () => begin(port, T0, grant, { uses: 7 })));
      expect(answers.filter(({ outcome }) => outcome === "begun")).toHaveLength(7);
      expect(answers.filter(({ outcome }) => outcome === "uses_exhausted")).toHaveLength(93);
      port = await opened.reopen();
      expect(await begin(port, T0, grant, { uses: 7 })).toEqual({ outcome: "uses_exhausted", uses: 7 });
      expect(await outcomes(2, () => begin(port, T0, grant, { uses: 8 }))).toEqual(["begun", "uses_exhausted"]);
      expect((await begin(port, T0, await grantFrom(port, T0), { uses: 1 })).outcome).toBe("begun");
    });

    it("counts what was called before the role had a limit", async () => {
      const grant = await grantFrom(port, T0);
      expect(await outcomes(3, () => begin(port, T0, grant))).toEqual(["begun", "begun", "begun"]);
      expect((await begin(port, T0, grant, { uses: 3 })).outcome).toBe("uses_exhausted");
    });

    it("counts a grant and its children together, whoever of them calls (rule 9)", async () => {
      const parent = await grantFrom(port, T0);
      const child = await grantFrom(port, T0, { parents: [parent.id], agent: "helper" });
      const grandchild = await grantFrom(port, T0, { parents: [parent.id, child.id], agent: "helper" });
      const sibling = await grantFrom(port, T0, { parents: [parent.id], agent: "other" });
      expect((await begin(port, T0, grandchild, { uses: 4 })).outcome).toBe("begun");
      expect((await begin(port, T0, child, { uses: 4 })).outcome).toBe("begun");
      expect((await begin(port, T0, sibling)).outcome).toBe("begun");
      expect((await begin(port, T0, parent, { uses: 4 })).outcome).toBe("begun");
      for (const each of [parent, child, grandchild, sibling])
        expect((await begin(port, T0, each, { uses: 4 })).outcome).toBe("uses_exhausted");
    });

    it("stops a child with its parent: released, or cut off by what only the parent has", async () => {
      const parent = await grantFrom(port, T0);
      const child = await grantFrom(port, T0, { parents: [parent.id], agent: "helper", role: "reader", task: "part" });
      expect((await begin(port, T0, child)).outcome).toBe("begun");
      await release(port, T0, parent);
      expect((await begin(port, T0, child)).outcome).toBe("ended");
      for (const target of [{ role: "domain-editor" }, { agent: "coder" }, { task: parent.task }]) {
        const cutOff = await cut(port, T0, target);
        expect((await begin(port, T0, child)).outcome).toBe("cut_off");
        expect(await begin(port, T0, await grantFrom(port, T0, { agent: "z", task: "z", role: "z" }))).toMatchObject({
          outcome: "begun",
          instant: cutOff.before + 1,
        });
      }
    });

    it("counts grants and calls of an agent and role together, across grants and a restart (rule 9)", async () => {
      const limit = LIMIT;
      const issued = await issue(port, T0, {}, { limit });
      if (issued.outcome !== "issued") throw new Error(issued.outcome);
      const second = await grantFrom(port, T0);
      expect(await outcomes(2, () => begin(port, T0 + 1000, issued.grant, { limit }))).toEqual(["begun", "begun"]);
      expect(await outcomes(2, () => begin(port, T0 + 2000, second, { limit }))).toEqual(["begun", "begun"]);
      port = await opened.reopen();
      const full = { outcome: "limit_reached", retryAfterSeconds: 57 };
      expect(await begin(port, T0 + 3000, second, { limit })).toEqual(full);
      expect(await issue(port, T0 + 3000, {}, { limit })).toEqual(full);
      expect((await begin(port, T0 + 3000, second, { limit: { ...limit, role: "other" } })).outcome).toBe("begun");
      expect((await begin(port, T0 + MINUTE, second, { limit })).outcome).toBe("begun");
      expect((await issue(port, T0 + MINUTE, {}, { limit })).outcome).toBe("limit_reached");
    });

    it("gives exactly perMinute of 100 concurrent calls", async () => {
      const grant = await grantFrom(port, T0);
      const answers = await Promise.all(Array.from({ length: 100 }, () => begin(port, T0, grant, { limit: LIMIT })));
      expect(answers.filter(({ outcome }) => outcome === "begun")).toHaveLength(5);
    });

    it("fails where a call that is open is begun again, writes nothing of it, and its neighbours are unharmed", async () => {
      const grant = await grantFrom(port, T0);
      const call = newId("req", T0);
      await begin(port, T0, grant, { call, uses: 3 });
      const { seq } = await port.head();
      const neighbour = begin(port, T0, grant, { uses: 3 });
      const again = begin(port, T0, grant, { call, uses: 3 });
      const other = begin(port, T0, grant, { uses: 3 });
      await expect(again).rejects.toMatchObject({ code: "internal" });
      expect([(await neighbour).outcome, (await other).outcome]).toEqual(["begun", "begun"]);
      expect((await port.head()).seq).toBe(seq + 2);
      expect(await openIds()).toHaveLength(3);
      expect((await begin(port, T0, grant, { uses: 3 })).outcome).toBe("uses_exhausted");
    });

    it("begins and counts nothing whose event cannot be recorded, and keeps a call open whose end cannot be", async () => {
      const grant = await grantFrom(port, T0);
      const call = newId("req", T0);
      const unwritable = { code: "audit_unavailable" };
      const huge = begin(port, T0, grant, { uses: 1, limit: LIMIT, event: eventOf("call.allowed", HUGE) });
      await expect(huge).rejects.toMatchObject(unwritable);
      expect(await openIds()).toEqual([]);
      expect((await begin(port, T0, grant, { call, uses: 1, limit: { ...LIMIT, perMinute: 1 } })).outcome).toBe(
        "begun",
      );
      const event = eventOf("call.forwarded", HUGE);
      await expect(port.endCall({ at: T0, call, event })).rejects.toMatchObject(unwritable);
      expect(await openIds()).toEqual([call]);
      expect(await end(port, T0, call)).toBe(true);
    });

    it("has the end of a call durable when the store is closed right after it was asked for", async () => {
      const grant = await grantFrom(port, T0);
      const call = newId("req", T0);
      await begin(port, T0, grant, { call });
      const ended = end(port, T0, call);
      port = await opened.reopen();
      expect(await ended).toBe(true);
      expect(await openIds()).toEqual([]);
      expect(await lastEntry()).toMatchObject({ type: "call.forwarded", request: call });
    });
  });
}
