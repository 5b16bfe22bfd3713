// The contract of credentials that other systems accept: ordered only for a live grant and on record before the answer, one
// at a time, changed by compare-and-set, and there until somebody says that they are gone, whatever becomes of the grant.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import type { CredentialChange, CredentialPort, StoredCredential } from "../../src/credentials/credential-port.ts";
import type { GrantPort, StoredGrant } from "../../src/grants/grant-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import {
  activate,
  cut,
  cutOffCommand,
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

type Ports = CredentialPort & GrantPort & RecordPort & RevocationPort;
type Order = Parameters<CredentialPort["orderCredential"]>[0];

const HUGE = { reason: "x".repeat(MAX_LEAF_BYTES) };

function ordered(
  { id, agent, task, role, upstream, endsAt }: StoredGrant,
  changes: Partial<Order["credential"]> = {},
): Order["credential"] {
  const place = { handle: `vk_${id}`, address: "postgres://db:5432/shop", policy: "p".repeat(64) };
  return { grant: id, agent, task, role, upstream, kind: "postgres", ...place, endsAt, dueAt: T0 + MINUTE, ...changes };
}

export function describeCredentialPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`credentials at other systems in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;
    let grant: StoredGrant;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
      grant = await grantFrom(port, T0);
    });
    afterEach(() => opened.close());

    const order = (at: number, changes: Partial<Order> = {}, of = grant) =>
      port.orderCredential({
        at,
        agent: of.agent,
        policyDigest: POLICY,
        credential: ordered(of),
        event: eventOf("credential.ordered", { handle: `vk_${of.id}` }),
        ...changes,
      });
    const change = (
      at: number,
      row: StoredCredential,
      to: Partial<CredentialChange> | null,
      more: Partial<Parameters<CredentialPort["changeCredential"]>[0]> = {},
    ) =>
      port.changeCredential({
        at,
        grant: row.grant,
        version: row.version,
        to: to === null ? null : { ...row, ...to },
        endGrantBy: null,
        event: null,
        ...more,
      });
    async function made(at = T0 + 1, of = grant): Promise<StoredCredential> {
      const done = await order(at, { credential: ordered(of) }, of);
      if (done.outcome !== "ordered") throw new Error(`expected an order, found ${done.outcome}`);
      return done.credential;
    }
    async function live(at = T0 + 1, of = grant): Promise<StoredCredential> {
      const done = await change(at + 1, await made(at, of), { state: "live", dueAt: of.endsAt });
      if (done.outcome !== "changed" || done.credential === null) throw new Error("expected it to be live");
      return done.credential;
    }
    const types = async () => (await port.read(0, 1000)).map((text) => /"type":"([^"]*)"/.exec(text)?.[1]);

    it("has what was ordered, with its event on record before the answer", async () => {
      const done = await order(T0 + 1);
      const fresh = { state: "making", endingSince: null, attempts: 0, failure: null, version: T0 + 1 };
      expect(done).toEqual({ outcome: "ordered", credential: { ...ordered(grant), ...fresh }, instant: T0 + 1 });
      expect((await types()).at(-1)).toBe("credential.ordered");
      expect(await port.findCredential(grant.id)).toEqual({ ...ordered(grant), ...fresh });
      expect(await port.findCredential(idAt("grt", T0))).toBeNull();
    });

    it("refuses an order as a call is refused, and writes nothing", async () => {
      const other = await grantFrom(port, T0, { agent: "other" });
      const over = await grantFrom(port, T0, { ttlSeconds: 1 });
      const let_go = await grantFrom(port, T0);
      await release(port, T0 + 1, let_go);
      const parent = await grantFrom(port, T0);
      const child = await grantFrom(port, T0 + 1, { parents: [parent.id] });
      const [byGrant, byParent, byTask] = [
        await grantFrom(port, T0),
        await cut(port, T0 + 2, { grant: parent.id }),
        await grantFrom(port, T0, { task: "another" }),
      ];
      const ofGrant = await cut(port, T0 + 3, { grant: byGrant.id });
      const ofTask = await cut(port, T0 + 3, { task: "another" });
      const at = T0 + 2000;
      const before = (await types()).length;
      expect(await order(at - 10 * MINUTE)).toMatchObject({ outcome: "clock_behind" });
      expect(await order(at, { policyDigest: "b".repeat(64) })).toEqual({ outcome: "policy_changed", digest: POLICY });
      const unknown = { ...ordered(grant), grant: idAt("grt", T0) };
      expect(await order(at, { credential: unknown })).toEqual({ outcome: "not_found" });
      expect(await order(at, { credential: ordered(other) })).toEqual({ outcome: "not_found" });
      for (const [of, refusal] of [
        [over, { outcome: "ended" }],
        [let_go, { outcome: "ended" }],
        [child, { outcome: "cut_off", revocation: byParent.id }],
        [byGrant, { outcome: "cut_off", revocation: ofGrant.id }],
        [byTask, { outcome: "cut_off", revocation: ofTask.id }],
      ] as const) {
        expect(await order(at, { credential: ordered(of) }, of)).toEqual(refusal);
        expect(await port.findCredential(of.id)).toBeNull();
      }
      expect((await types()).length).toBe(before);
      await cut(port, at, { agent: "coder" });
      expect(await order(at + 1)).toMatchObject({ outcome: "cut_off" });
    });

    it("refuses in the order in which a call is refused", async () => {
      const voided = await grantFrom(port, T0, { ttlSeconds: 5 });
      const cutOff = await cut(port, T0, { grant: voided.id });
      const others = await grantFrom(port, T0, { agent: "other" });
      await port.freeze({ ...cutOffCommand(T0, { agent: "coder" }, null), agent: "coder" });
      const at = T0 + 10_000;
      await port.append({ at, proof: null, events: [eventOf("a.written")] });
      const { seq } = await port.head();
      const unknown = { credential: { ...ordered(grant), grant: idAt("grt", T0) } };
      const stale = { ...unknown, policyDigest: "b".repeat(64) };
      expect(await order(at - 30_001, stale)).toEqual({ outcome: "clock_behind", instant: at });
      expect(await order(at, stale)).toEqual({ outcome: "policy_changed", digest: POLICY });
      expect(await order(at, unknown)).toEqual({ outcome: "agent_frozen" });
      expect(await order(at)).toEqual({ outcome: "agent_frozen" });
      expect((await port.head()).seq).toBe(seq);
      const thaw = { at, proof: proofAt(at), agent: "coder", event: eventOf("agent.unfrozen") };
      expect((await port.unfreeze(thaw)).outcome).toBe("unfrozen");
      expect(await order(at, unknown)).toEqual({ outcome: "not_found" });
      expect(await order(at, { credential: ordered(others) })).toEqual({ outcome: "not_found" });
      // It has expired too.
      expect(await order(at, {}, voided)).toEqual({ outcome: "cut_off", revocation: cutOff.id });
      const late = await grantFrom(port, at, { ttlSeconds: 5 });
      const row = await made(late.endsAt - 1, late);
      // Somebody makes it still.
      expect(await order(late.endsAt, {}, late)).toEqual({ outcome: "ended" });
      expect(await port.findCredential(late.id)).toEqual(row);
      // Unfrozen, a grant and its order.
      expect((await port.head()).seq).toBe(seq + 3);
      expect(await port.listCredentials(null, 10)).toEqual([row]);
    });

    it("refuses an order whose event does not fit, and keeps nothing of it", async () => {
      await expect(order(T0 + 1, { event: eventOf("credential.ordered", HUGE) })).rejects.toThrow("nothing was done");
      expect(await port.findCredential(grant.id)).toBeNull();
      const row = await made();
      const event = eventOf("credential.dead", HUGE);
      await expect(change(T0 + 2, row, { state: "live" }, { event })).rejects.toThrow("nothing was done");
      expect(await port.findCredential(grant.id)).toEqual(row);
    });

    it("keeps what it is called, where it is and how wide it is, when it is ordered again", async () => {
      const row = await live();
      const credential = ordered(grant, {
        handle: "vk_other",
        address: "postgres://other:1/x",
        policy: "q".repeat(64),
      });
      const done = await order(T0 + 5, { credential: { ...credential, dueAt: T0 + 2 * MINUTE } });
      expect(done).toMatchObject({
        outcome: "ordered",
        credential: { ...row, state: "making", dueAt: T0 + 2 * MINUTE, version: row.version + 1 },
      });
      expect(await port.findCredential(grant.id)).toEqual(done.outcome === "ordered" && done.credential);
    });

    it("is busy while somebody makes or ends it, and free when whoever made it has had the time", async () => {
      const row = await made();
      expect(await order(T0 + MINUTE - 1)).toEqual({ outcome: "busy" });
      const later = { ...ordered(grant), dueAt: T0 + 3 * MINUTE };
      const again = await order(T0 + MINUTE, { credential: later });
      expect(again).toMatchObject({ outcome: "ordered", credential: { version: row.version + 1 } });
      for (const state of ["ending", "dead"] as const) {
        const found = await port.findCredential(grant.id);
        if (found === null) throw new Error("expected it to be there");
        await change(T0 + MINUTE + 1, found, { state, dueAt: T0 });
        expect([state, await order(T0 + 4 * MINUTE)]).toEqual([state, { outcome: "busy" }]);
      }
    });

    it("is ordered once, of many orders at a time", async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => order(T0 + 1)));
      expect(answers.filter(({ outcome }) => outcome === "ordered")).toHaveLength(1);
      expect(answers.filter(({ outcome }) => outcome === "busy")).toHaveLength(19);
      expect((await types()).filter((type) => type === "credential.ordered")).toHaveLength(1);
    });

    it("changes for one of two who saw the same, with its event, also by a clock that is behind", async () => {
      const row = await live();
      const to = { state: "ending", endingSince: T0 + 9, dueAt: T0 + 10, attempts: 3, failure: "no answer" } as const;
      const answers = await Promise.all([
        change(T0 - 60 * MINUTE, row, to, { event: eventOf("credential.unconfirmed") }),
        change(T0 + 9, row, to, { event: eventOf("credential.unconfirmed") }),
      ]);
      expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(["changed", "conflict"]);
      expect(await port.findCredential(grant.id)).toEqual({ ...row, ...to, version: row.version + 1 });
      expect((await types()).filter((type) => type === "credential.unconfirmed")).toHaveLength(1);
    });

    it("goes when it is said to be gone, once", async () => {
      const row = await live();
      expect(await change(T0 + 9, row, null)).toMatchObject({ outcome: "changed", credential: null });
      expect(await port.findCredential(grant.id)).toBeNull();
      expect(await port.dueCredentials(grant.endsAt, 10)).toEqual([]);
      expect(await port.listCredentials(null, 10)).toEqual([]);
      expect(await change(T0 + 9, row, null)).toEqual({ outcome: "conflict" });
      expect(await order(T0 + 10)).toMatchObject({ outcome: "ordered", credential: { version: T0 + 10 } });
      // Who still holds the one that went changes nothing of the one that came.
      expect(await change(T0 + 11, row, null)).toEqual({ outcome: "conflict" });
    });

    it("ends its grant with it where that is asked, and one that has ended keeps its reason", async () => {
      await change(T0 + 5, await made(), { state: "ending" }, { endGrantBy: "credential.failed" });
      expect((await port.find(grant.id))?.grant).toMatchObject({ endedAt: T0 + 5, endedBy: "credential.failed" });
      const other = await grantFrom(port, T0);
      const row = await made(T0 + 6, other);
      await release(port, T0 + 7, other);
      await change(T0 + 8, row, { state: "ending" }, { endGrantBy: "credential.failed" });
      expect((await port.find(other.id))?.grant).toMatchObject({ endedAt: T0 + 7, endedBy: "coder" });
      const ending = await port.findCredential(grant.id);
      if (ending === null) throw new Error("expected it to be there");
      await change(T0 + 9, ending, { attempts: 1 }, { endGrantBy: "another word" });
      expect((await port.find(grant.id))?.grant).toMatchObject({ endedAt: T0 + 5, endedBy: "credential.failed" });
    });

    it("is found when it is due, the earliest first, and all are listed in pages", async () => {
      const grants = [];
      for (let i = 0; i < 25; i++) grants.push(await grantFrom(port, T0 + i));
      for (const [i, of] of grants.entries()) {
        await order(T0 + 30, { credential: ordered(of, { dueAt: T0 + 1000 - i * 10 }) }, of);
      }
      const due = await port.dueCredentials(T0 + 900, 100);
      expect(due.map(({ grant: id }) => id)).toEqual(
        grants
          .slice(10)
          .map(({ id }) => id)
          .toReversed(),
      );
      expect(await port.dueCredentials(T0 + 900, 3)).toEqual(due.slice(0, 3));
      const listed = [];
      for (let after: StoredCredential["grant"] | null = null; ;) {
        const page: readonly StoredCredential[] = await port.listCredentials(after, 10);
        listed.push(...page);
        after = page.at(-1)?.grant ?? null;
        if (page.length < 10) break;
      }
      expect(listed.map(({ grant: id }) => id)).toEqual(grants.map(({ id }) => id).toSorted());
    });

    it("is found when it is due, and listed, among 250", async () => {
      const grants = await Promise.all(Array.from({ length: 250 }, (_, i) => grantFrom(port, T0, { task: `t${i}` })));
      // Five at a time are due at one instant.
      const dueOf = new Map(grants.map(({ id }, i) => [id, T0 + 1000 - Math.floor(i / 5)] as const));
      const put = grants.map((of) =>
        order(T0 + 30, { credential: ordered(of, { dueAt: dueOf.get(of.id) ?? T0 }) }, of),
      );
      expect(new Set((await Promise.all(put)).map(({ outcome }) => outcome))).toEqual(new Set(["ordered"]));
      const ids = grants.map(({ id }) => id).toSorted();
      const byDue = ids.toSorted((a, b) => (dueOf.get(a) ?? 0) - (dueOf.get(b) ?? 0));
      const due = async (at: number, limit: number) =>
        (await port.dueCredentials(at, limit)).map(({ grant: id }) => id);
      expect(await due(T0 + 1000, 1000)).toEqual(byDue);
      expect(await due(T0 + 1000, 123)).toEqual(byDue.slice(0, 123));
      expect(await due(T0 + 960, 1000)).toEqual(byDue.slice(0, 50));
      expect(await due(T0 + 950, 1000)).toEqual([]);
      const listed = [];
      for (let after: StoredCredential["grant"] | null = null, isMore = true; isMore;) {
        const page: readonly StoredCredential[] = await port.listCredentials(after, 100);
        listed.push(...page.map(({ grant: id }) => id));
        [after, isMore] = [page.at(-1)?.grant ?? null, page.length === 100];
      }
      expect(listed).toEqual(ids);
    });

    it("stays when its grant has long been forgotten, and can be ended and removed then", async () => {
      const row = await live();
      const later = T0 + 40 * 24 * 60 * MINUTE;
      // Whoever forgets does so beside what is written.
      for (let i = 0; i < 3; i++) await issue(port, later + i * MINUTE, { task: "later" });
      expect(await port.find(grant.id)).toBeNull();
      expect(await port.findCredential(grant.id)).toEqual(row);
      expect(await port.dueCredentials(later, 10)).toEqual([row]);
      const done = await change(later, row, { state: "ending" }, { endGrantBy: "credential.failed" });
      if (done.outcome !== "changed" || done.credential === null) throw new Error("expected it to be changed");
      expect(await port.find(grant.id)).toBeNull();
      expect(await change(later, done.credential, null)).toMatchObject({ outcome: "changed", credential: null });
      expect(await port.listCredentials(null, 10)).toEqual([]);
    });

    it("stays when its grant is over, revoked, and when the store is opened again", async () => {
      const row = await live();
      await cut(port, T0 + 20, { everything: true });
      expect(await port.findCredential(grant.id)).toEqual(row);
      port = await opened.reopen();
      expect(await port.findCredential(grant.id)).toEqual(row);
      expect(await port.dueCredentials(grant.endsAt, 10)).toEqual([row]);
      expect(await change(grant.endsAt + 60 * MINUTE, row, { state: "ending" })).toMatchObject({ outcome: "changed" });
    });
  });
}
