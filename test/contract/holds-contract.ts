// The contract of what waits: made once, changed by compare-and-set, claimed by exactly one, never after a stop, and every
// step on record with what it did.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort, StoredGrant } from "../../src/grants/grant-port.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import type { ProofPort } from "../../src/identity/proof-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import type { WebhookPort } from "../../src/webhooks/webhook-port.ts";
import { activate, cut, cutOffCommand, eventOf, grantFrom, MINUTE, type Opened, proofAt, T0 } from "./drafts.ts";
import * as held from "./held-drafts.ts";

type Ports = HoldPort & CallPort & GrantPort & ProofPort & RecordPort & RevocationPort & WebhookPort;

export function describeHoldPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`holds in ${name}`, { timeout: 60_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;
    let grant: StoredGrant;

    beforeEach(async () => {
      opened = await open();
      ({ port } = opened);
      await activate(port);
      grant = await grantFrom(port, T0);
    });
    afterEach(() => opened.close());

    const types = async (): Promise<unknown[]> =>
      (await port.read(2, 1000)).map((leaf) => (JSON.parse(leaf) as { type: unknown }).type);

    it("keeps a held call with its sealed bytes, over a restart too", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant, { sealed: new Uint8Array([9, 0, 250]) });
      port = await opened.reopen();
      expect(await port.findHold(hold.id)).toEqual({ hold, cutOff: null });
      expect(await port.sealedRequest(hold.id)).toEqual(new Uint8Array([9, 0, 250]));
      expect(await port.listHolds({ agent: "coder" }, 10)).toEqual([{ hold, cutOff: null }]);
      expect(await types()).toEqual(["hold.created"]);
      expect(await port.findHold("hld_00000000000000000000000000")).toBeNull();
    });

    it("gives the live one of the same fingerprint again, and counts it once", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant, { fingerprint: "same" });
      const again = await held.holdCall(port, T0 + 2, grant, { fingerprint: "same", uses: 1 });
      expect(again).toEqual({ outcome: "existing", hold });
      expect(await types()).toEqual(["hold.created"]);
      expect((await held.holdCall(port, T0 + 3, grant, { uses: 1 })).outcome).toBe("uses_exhausted");
      await held.cancel(port, T0 + 4, hold);
      expect((await held.holdCall(port, T0 + 5, grant, { fingerprint: "same" })).outcome).toBe("held");
    });

    it("gives another one where a cut-off covers the first, though nobody has written that down", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant, { fingerprint: "same" });
      await cut(port, T0 + 2, { role: "domain-editor" });
      const fresh = await grantFrom(port, T0 + 3);
      const answer = await held.holdCall(port, T0 + 10, fresh, { fingerprint: "same" });
      expect(answer.outcome).toBe("held");
      expect((await port.findHold(hold.id))?.cutOff).toMatch(/^rev_/);
    });

    it("refuses what a call is refused for: no grant, ended, another policy, frozen, revoked", async () => {
      const at = T0 + 1;
      const none = { id: "grt_00000000000000000000000000", agent: "coder" } as const;
      expect((await held.holdCall(port, at, none)).outcome).toBe("not_found");
      expect((await held.holdCall(port, at, grant, { policyDigest: "b".repeat(64) })).outcome).toBe("policy_changed");
      expect((await held.holdCall(port, grant.endsAt + 1, grant)).outcome).toBe("ended");
      const fresh = await grantFrom(port, grant.endsAt + 2);
      await cut(port, grant.endsAt + 3, { task: fresh.task });
      expect((await held.holdCall(port, grant.endsAt + 4, fresh)).outcome).toBe("cut_off");
      await port.freeze({ ...cutOffCommand(grant.endsAt + 5, { agent: "coder" }), agent: "coder" });
      expect((await held.holdCall(port, grant.endsAt + 6, fresh)).outcome).toBe("agent_frozen");
    });

    it("wants an id of an instant after the last cut-off's", async () => {
      await cut(port, T0 + 50, { role: "another" });
      const early = await held.holdCall(port, T0 + 50, grant);
      expect(early).toEqual({ outcome: "instant_behind", instant: T0 + 50 });
      expect((await held.holdCall(port, T0 + 51, grant)).outcome).toBe("held");
    });

    it("bounds the live ones of one agent, and not another's by them", async () => {
      const first = await held.heldCall(port, T0 + 1, grant, { perAgent: 2 });
      await held.heldCall(port, T0 + 2, grant, { perAgent: 2 });
      expect(await held.holdCall(port, T0 + 3, grant, { perAgent: 2 })).toEqual({
        outcome: "too_many_holds",
        perAgent: 2,
      });
      const other = await grantFrom(port, T0 + 3, { agent: "other" });
      expect((await held.holdCall(port, T0 + 4, other, { perAgent: 2 })).outcome).toBe("held");
      await held.cancel(port, T0 + 5, first);
      expect((await held.holdCall(port, T0 + 6, grant, { perAgent: 2 })).outcome).toBe("held");
    });

    it("stamps a signature with the transaction's instant, once a person", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const signed = await held.approve(port, T0 + 2, hold);
      if (signed.outcome !== "changed") throw new Error(signed.outcome);
      expect(signed.hold).toMatchObject({ version: 2, approvals: [{ person: "oncall-1", at: T0 + 2 }] });
      expect((await held.approve(port, T0 + 3, signed.hold)).outcome).toBe("conflict");
      // A clock that is behind does not take an instant back.
      const late = await held.approve(port, T0 + 1, signed.hold, "oncall-2");
      if (late.outcome !== "changed") throw new Error(late.outcome);
      expect(late.hold.approvals.map(({ at }) => at)).toEqual([T0 + 2, T0 + 2]);
    });

    it("has another version after every signature, where the next look stays too", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const approval = { person: "a", teams: [], decision: "approve", key: "k", signature: "s", seal: "x" } as const;
      const signed = await held.change(port, T0 + 2, hold, { approval, wakeAt: null, event: null });
      expect(signed).toMatchObject({ outcome: "changed", hold: { version: 2 } });
      const other = { ...approval, person: "b" };
      expect((await held.change(port, T0 + 3, hold, { approval: other, wakeAt: null })).outcome).toBe("conflict");
    });

    it("refuses a signature by a late proof for the clock, and a stop never", async () => {
      const hold = await held.heldCall(port, T0 + 500_000, grant);
      const late = proofAt(T0);
      const approval = { person: "a", teams: [], decision: "approve", key: "k", signature: "s", seal: "x" } as const;
      expect((await held.change(port, T0, hold, { proof: late, approval })).outcome).toBe("clock_behind");
      const to = { state: "cancelled", endedBy: "a", why: null } as const;
      const stopped = await held.change(port, T0, hold, { proof: late, to });
      expect(stopped).toMatchObject({ outcome: "changed", instant: T0 + 500_000 });
      expect((await held.change(port, T0, hold, { proof: late, to })).outcome).toBe("proof_replayed");
    });

    it("lets one of two signatures on the same version in, and leaves the other's proof unused", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const proof = proofAt(T0 + 2);
      const approval = {
        person: "b",
        teams: ["oncall"],
        decision: "approve",
        key: "k",
        signature: "s",
        seal: "x",
      } as const;
      const [first, second] = await Promise.all([
        held.approve(port, T0 + 2, hold, "a"),
        held.change(port, T0 + 2, hold, { proof, approval }),
      ]);
      expect([first.outcome, second.outcome].toSorted()).toEqual(["changed", "conflict"]);
      expect((await held.change(port, T0 + 3, { ...hold, version: 2 }, { proof, approval })).outcome).toBe("changed");
      expect((await held.change(port, T0 + 4, { ...hold, version: 3 }, { proof, approval })).outcome).toBe(
        "proof_replayed",
      );
    });

    it("is claimed by exactly one, and not again", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const answers = await Promise.all([1, 2, 3].map(() => held.claim(port, T0 + 2, hold)));
      expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(["claimed", "conflict", "conflict"]);
      const found = await port.findHold(hold.id);
      expect(found?.hold).toMatchObject({ state: "firing", lease: { until: T0 + 2 + 300_000 } });
      expect((await held.claim(port, T0 + 3, found?.hold ?? hold)).outcome).toBe("conflict");
      expect(await types()).toEqual(["hold.created", "hold.claimed"]);
    });

    it("is not claimed before its time, by clocks that are behind, under another policy, frozen or revoked", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      expect((await held.claim(port, T0 + 2, hold, { notBefore: T0 + 3 })).outcome).toBe("too_early");
      expect((await held.claim(port, T0 + 2, hold, { notBefore: Number.NaN })).outcome).toBe("too_early");
      expect((await held.claim(port, T0 + 2, hold, { policyDigest: "b".repeat(64) })).outcome).toBe("policy_changed");
      expect((await held.claim(port, T0 - 60_000, hold)).outcome).toBe("clock_behind");
      for (const target of [
        { everything: true },
        { grant: grant.id },
        { task: grant.task },
        { upstream: "shop" },
        { environment: "staging" },
        { agent: "coder" },
        { role: "domain-editor" },
      ] as const) {
        const at = (await port.head()).instant + 1;
        const next = await grantFrom(port, at, { task: `t ${at}`, ...(target === undefined ? {} : {}) });
        const waiting = await held.heldCall(port, at + 1, next, { task: `t ${at}` });
        const aimed = "grant" in target ? { grant: next.id } : "task" in target ? { task: `t ${at}` } : target;
        await cut(port, at + 2, aimed);
        expect((await held.claim(port, at + 3, waiting)).outcome, JSON.stringify(target)).toBe("cut_off");
      }
      await port.freeze({ ...cutOffCommand((await port.head()).instant, { agent: "coder" }), agent: "coder" });
      expect((await held.claim(port, (await port.head()).instant, hold)).outcome).toBe("agent_frozen");
      expect(await types()).not.toContain("hold.claimed");
    });

    it("lets a cancel or a claim win, never both", async () => {
      for (let round = 0; round < 20; round++) {
        const at = T0 + 10 + round * 10;
        const hold = await held.heldCall(port, at, grant);
        const [stopped, fired] = await Promise.all([held.cancel(port, at + 1, hold), held.claim(port, at + 1, hold)]);
        expect([stopped.outcome, fired.outcome].toSorted()).toEqual(
          stopped.outcome === "changed" ? ["changed", "conflict"] : ["claimed", "conflict"],
        );
      }
    });

    it("lets a claim or a cut-off win, and never claims after a cut-off is on record", async () => {
      for (let round = 0; round < 20; round++) {
        const at = T0 + 10 + round * 10;
        const hold = await held.heldCall(port, at, await grantFrom(port, at - 1));
        const [, fired] = await Promise.all([cut(port, at + 1, { agent: "coder" }), held.claim(port, at + 1, hold)]);
        const [last, before] = (await types()).toReversed();
        expect([fired.outcome, before, last]).toEqual(
          fired.outcome === "claimed"
            ? ["claimed", "hold.claimed", "cutoff.created"]
            : ["cut_off", "hold.created", "cutoff.created"],
        );
      }
    });

    it("is not claimed while any agent above the one that asks is frozen", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant, { above: ["planner"] });
      await port.freeze({ ...cutOffCommand(T0 + 2, { agent: "planner" }), agent: "planner" });
      expect((await held.claim(port, T0 + 3, hold)).outcome).toBe("agent_frozen");
      await port.unfreeze({ at: T0 + 4, proof: proofAt(T0 + 4), agent: "planner", event: eventOf("agent.unfrozen") });
      expect((await held.claim(port, T0 + 5, hold)).outcome).toBe("cut_off");
    });

    it("fires by a claim alone, and is stopped by nothing once it does", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      for (const state of ["firing", "done", "failed", "unknown"] as const) {
        const to = { state, endedBy: null, why: null };
        await expect(held.change(port, T0 + 2, hold, { to })).rejects.toThrow(/by a claim/);
      }
      const firing = await held.claimed(port, T0 + 3, hold);
      expect((await held.cancel(port, T0 + 4, firing)).outcome).toBe("conflict");
      await cut(port, T0 + 5, { everything: true });
      expect((await port.findHold(hold.id))?.hold).toEqual(firing);
      expect((await held.settle(port, T0 + 6, firing)).outcome).toBe("settled");
    });

    it("is not claimed where the event cannot be recorded", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const event = eventOf("hold.claimed", { why: "x".repeat(100_000) });
      await expect(held.claim(port, T0 + 2, hold, { event })).rejects.toThrow(/nothing was done/);
      expect((await port.findHold(hold.id))?.hold).toEqual(hold);
    });

    it("keeps signatures and leases over a restart", async () => {
      const signed = await held.approve(port, T0 + 2, await held.heldCall(port, T0 + 1, grant));
      if (signed.outcome !== "changed") throw new Error(signed.outcome);
      const firing = await held.claimed(port, T0 + 3, signed.hold);
      port = await opened.reopen();
      expect((await port.firingHolds(10)).map(({ hold }) => hold)).toEqual([firing]);
      expect(firing.approvals.length).toBe(1);
      expect((await held.claim(port, T0 + 4, firing)).outcome).toBe("conflict");
      expect((await held.settle(port, T0 + 4, firing)).outcome).toBe("settled");
    });

    it("is settled by who holds the lease, and by nobody else", async () => {
      const hold = await held.claimed(port, T0 + 2, await held.heldCall(port, T0 + 1, grant));
      expect((await held.settle(port, T0 + 3, hold, { token: "another" })).outcome).toBe("conflict");
      expect((await held.settle(port, T0 + 3, hold)).outcome).toBe("settled");
      expect((await held.settle(port, T0 + 4, hold)).outcome).toBe("conflict");
      expect((await port.findHold(hold.id))?.hold).toMatchObject({
        state: "done",
        lease: null,
        outcome: { status: 200 },
        readable: true,
      });
    });

    it("goes back to waiting where nothing was sent, and can be claimed again", async () => {
      const hold = await held.claimed(port, T0 + 2, await held.heldCall(port, T0 + 1, grant));
      const to = { state: "waiting", endedBy: null, why: "not sent" } as const;
      await held.settle(port, T0 + 3, hold, { to, wakeAt: T0 + 9, outcome: null, sealedOutcome: null });
      expect(await port.dueHolds(T0 + 8, 10)).toEqual([]);
      const [due] = await port.dueHolds(T0 + 9, 10);
      expect(due?.hold).toMatchObject({ state: "waiting", why: "not sent" });
      expect((await held.claim(port, T0 + 9, due?.hold ?? hold)).outcome).toBe("claimed");
    });

    it("gives the sealed outcome once", async () => {
      const hold = await held.claimed(port, T0 + 2, await held.heldCall(port, T0 + 1, grant));
      await held.settle(port, T0 + 3, hold);
      const take = () =>
        port.takeOutcome({ at: T0 + 4, proof: proofAt(T0 + 4), id: hold.id, event: eventOf("outcome.read") });
      const answers = await Promise.all([take(), take()]);
      expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(["not_found", "taken"]);
      const taken = answers.find((answer) => answer.outcome === "taken");
      expect(taken?.outcome === "taken" && taken.sealed).toEqual(new Uint8Array([7, 0]));
      expect((await port.findHold(hold.id))?.hold).toMatchObject({ readable: false, outcome: { status: 200 } });
      const proof = proofAt(T0 + 5);
      const none = { at: T0 + 5, proof, id: hold.id, event: eventOf("outcome.read") };
      expect((await port.takeOutcome(none)).outcome).toBe("not_found");
      expect(await port.consume(proof, T0 + 5)).toBe(false);
      expect((await port.takeOutcome(none)).outcome).toBe("proof_replayed");
    });

    it("finds what is due, and firing ones whose lease is over, among 3,000 that wait", async () => {
      // No more at once than callers have: what waits too long in a store's queue is refused, as it should be.
      for (let made = 0; made < 3000; made += 100)
        await Promise.all(Array.from({ length: 100 }, () => held.heldCall(port, T0 + 1, grant, { perAgent: 5000 })));
      const hold = await held.heldCall(port, T0 + 2, grant, { perAgent: 5000 });
      await held.change(port, T0 + 3, hold, { wakeAt: T0 + 5, event: null });
      expect(await port.dueHolds(T0 + 4, 10)).toEqual([]);
      expect((await port.dueHolds(T0 + 5, 10)).map((one) => one.hold.id)).toEqual([hold.id]);
      await held.claimed(port, T0 + 6, { ...hold, version: 1 });
      expect(await port.dueHolds(T0 + 7, 10)).toEqual([]);
      expect((await port.dueHolds(T0 + 6 + 300_000, 10)).map((one) => one.hold.state)).toEqual(["firing"]);
      expect((await port.firingHolds(10)).map((one) => one.hold.id)).toEqual([hold.id]);
      const [other] = await port.listHolds({ states: ["waiting"] }, 1);
      if (other !== undefined) await held.change(port, T0 + 7, other.hold, { wakeAt: T0 + 8 });
      const due = (await port.dueHolds(T0 + 6 + 300_000, 10)).map((one) => one.hold.state);
      expect(due, "oldest first, whichever state").toEqual(["waiting", "firing"]);
      const listed = await port.listHolds({ states: ["waiting"], agent: "coder" }, 100);
      expect(listed.length).toBe(100);
      const older = await port.listHolds({ states: ["waiting"], after: listed.at(-1)?.hold.id }, 100);
      expect(older.every(({ hold: { id } }) => id < (listed.at(-1)?.hold.id ?? ""))).toBe(true);
    });

    it("walks what a cut-off covers, and nothing else, in pages", async () => {
      const other = await grantFrom(port, T0 + 1, { agent: "other" });
      for (let i = 0; i < 25; i++) await held.heldCall(port, T0 + 2 + i, grant);
      await held.heldCall(port, T0 + 40, other);
      const cutOff = await cut(port, T0 + 50, { agent: "coder" });
      const first = await port.voidedHolds(null, 20);
      const second = await port.voidedHolds(first.at(-1)?.hold.id ?? null, 20);
      expect([first.length, second.length]).toEqual([20, 5]);
      expect([...first, ...second].every(({ cutOff, hold }) => cutOff !== null && hold.state === "waiting")).toBe(true);
      // However much of it is written down already.
      const met = { holds: 25, isWhole: true };
      expect(await port.countCancelled(cutOff)).toEqual(met);
      for (const { hold } of first) await held.cancel(port, T0 + 60, hold, cutOff.id);
      expect(await port.countCancelled(cutOff)).toEqual(met);
      for (const { hold } of second) await held.cancel(port, T0 + 60, hold, cutOff.id);
      expect(await port.countCancelled(cutOff)).toEqual(met);
      expect(await port.voidedHolds(null, 20)).toEqual([]);
      // What one has cancelled, a later one has not.
      const later = await cut(port, T0 + 70, { everything: true });
      expect(await port.countCancelled(later)).toMatchObject({ holds: 1 });
    });

    it("keeps a statement once, and wakes who waits for a backup of its resource", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const statement = held.statementOf(T0 + 2, { statement: "s" });
      const first = await held.attest(port, T0 + 2, statement);
      if (first.outcome !== "attested") throw new Error(first.outcome);
      expect(first.holds).toBe(1);
      expect((await port.dueHolds(T0 + 2, 10)).map((one) => one.hold.id)).toEqual([hold.id]);
      const again = await held.attest(port, T0 + 3, { ...statement, random: "0".repeat(16) });
      expect(again).toMatchObject({ attestations: first.attestations, holds: 0 });
      await held.attest(
        port,
        T0 + 4,
        held.statementOf(T0 - 5),
        held.statementOf(T0 + 3, { resource: "shop:volume/2" }),
      );
      const newest = await port.attestations([held.VOLUME, "shop:volume/2"], 1);
      expect(newest.map(({ takenAt, resource }) => [resource, takenAt - T0])).toEqual([
        [held.VOLUME, 2],
        ["shop:volume/2", 3],
      ]);
      const [kept] = first.attestations;
      expect(await port.findAttestation(kept?.id ?? "att_")).toEqual(kept);
      expect((await types()).filter((type) => type === "backup.attested").length).toBe(3);
    });

    it("takes no statement of a frozen agent", async () => {
      await port.freeze({ ...cutOffCommand(T0 + 1, { agent: "backup-1" }), agent: "backup-1" });
      expect((await held.attest(port, T0 + 2, held.statementOf(T0))).outcome).toBe("agent_frozen");
      expect(await port.attestations([held.VOLUME], 10)).toEqual([]);
    });

    it("does not lose the wake of a statement to a look that was begun before it came", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      await held.attest(port, T0 + 2, held.statementOf(T0));
      const late = await held.change(port, T0 + 3, hold, { wakeAt: T0 + held.WEEK, event: null });
      expect(late.outcome).toBe("conflict");
      expect((await port.dueHolds(T0 + 3, 10)).map((one) => one.hold.id)).toEqual([hold.id]);
    });

    it("forgets what ended 30 days ago and statements of 90 days ago, and nothing that lives", async () => {
      const days = (count: number) => T0 + count * 24 * 60 * MINUTE;
      const ended = await held.heldCall(port, T0 + 1, grant);
      const signed = await held.approve(port, T0 + 2, ended);
      await held.cancel(port, T0 + 3, { ...ended, version: signed.outcome === "changed" ? signed.hold.version : 0 });
      const waiting = await held.heldCall(port, T0 + 4, grant);
      await held.attest(port, T0 + 5, held.statementOf(T0));
      for (const at of [days(29), days(29) + 1000]) await grantFrom(port, at);
      expect((await port.listHolds({}, 10)).map(({ hold }) => hold.id)).toEqual([waiting.id, ended.id]);
      for (const at of [days(31), days(31) + 1000]) await grantFrom(port, at);
      expect((await port.listHolds({}, 10)).map(({ hold }) => hold.id)).toEqual([waiting.id]);
      expect((await port.attestations([held.VOLUME], 10)).length).toBe(1);
      for (const at of [days(91), days(91) + 1000]) await grantFrom(port, at);
      expect(await port.attestations([held.VOLUME], 10)).toEqual([]);
    });

    it("remembers how far each receiver was told, with the event of the step", async () => {
      const cursor = { name: "pager", seq: 3, attempts: 2, nextAt: T0 + 9 };
      await port.moveCursor({ at: T0, cursor, event: null });
      await port.moveCursor({ at: T0, cursor: { ...cursor, seq: 4 }, event: eventOf("webhook.dropped") });
      port = await opened.reopen();
      expect(await port.webhookCursors()).toEqual([{ ...cursor, seq: 4 }]);
      expect(await types()).toEqual(["webhook.dropped"]);
    });
  });
}
