// The contract of what waits, in its smaller rules: what is counted, consumed, recorded and kept. Apart from the contracts
// of holds and held grants for their length alone.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort, StoredGrant } from "../../src/grants/grant-port.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import type { ProofPort } from "../../src/identity/proof-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import { activate, cut, eventOf, grantFrom, issue, type Opened, proofAt, T0 } from "./drafts.ts";
import * as held from "./held-drafts.ts";

type Ports = HoldPort & CallPort & GrantPort & ProofPort & RecordPort & RevocationPort;

const TOLERANCE_MS = 30_000;
const LIMIT = { agent: "coder", role: "domain-editor", perMinute: 1 };

export function describeHeldRules(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`what waits in ${name}`, { timeout: 60_000 }, () => {
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

    const written = async (type: string): Promise<number> =>
      (await port.read(2, 1000)).filter((leaf) => (JSON.parse(leaf) as { type: unknown }).type === type).length;

    it("counts a held call against the limit of a minute, and refuses it there", async () => {
      expect((await held.holdCall(port, T0 + 1, grant, { limit: LIMIT })).outcome).toBe("held");
      const next = await held.holdCall(port, T0 + 2, grant, { limit: LIMIT });
      expect(next).toEqual({ outcome: "limit_reached", retryAfterSeconds: 60 });
      expect((await issue(port, T0 + 3, {}, { limit: LIMIT })).outcome).toBe("limit_reached");
    });

    it("counts nothing for a call that was not held", async () => {
      await held.heldCall(port, T0 + 1, grant, { fingerprint: "f", perAgent: 1 });
      expect((await held.holdCall(port, T0 + 2, grant, { limit: LIMIT, perAgent: 1 })).outcome).toBe("too_many_holds");
      expect((await held.holdCall(port, T0 + 3, grant, { limit: LIMIT, fingerprint: "f" })).outcome).toBe("existing");
      expect((await held.holdCall(port, T0 + 4, grant, { limit: LIMIT, uses: 1 })).outcome).toBe("uses_exhausted");
      expect((await held.holdCall(port, T0 + 5, grant, { limit: LIMIT, uses: 2 })).outcome).toBe("held");
      expect(await written("hold.created")).toBe(2);
    });

    it("counts a held call for the whole chain, and holds none under a parent that has ended", async () => {
      const child = await grantFrom(port, T0 + 1, { agent: "helper", parents: [grant.id] });
      await held.heldCall(port, T0 + 2, child);
      expect((await held.holdCall(port, T0 + 3, grant, { uses: 1 })).outcome).toBe("uses_exhausted");
      await port.release({
        at: T0 + 4,
        proof: proofAt(T0 + 4),
        id: grant.id,
        agent: grant.agent,
        event: eventOf("grant.released"),
      });
      expect((await held.holdCall(port, T0 + 5, child)).outcome).toBe("ended");
      expect((await held.holdCall(port, T0 + 5, { id: child.id, agent: "coder" })).outcome).toBe("not_found");
    });

    it("consumes the proof of what was asked for again, and of what gave nothing", async () => {
      await held.holdGrant(port, T0 + 1, { fingerprint: "f" });
      const again = proofAt(T0 + 2);
      expect((await held.holdGrant(port, T0 + 2, { fingerprint: "f", proof: again })).outcome).toBe("existing");
      expect((await held.holdGrant(port, T0 + 3, { proof: again })).outcome).toBe("proof_replayed");

      const statement = held.statementOf(T0);
      await held.attest(port, T0 + 4, statement);
      const proof = proofAt(T0 + 5);
      const attestations = [{ attestation: statement, event: eventOf("backup.attested") }];
      const command = { at: T0 + 5, proof, agent: "backup-1", attestations };
      expect(await port.attest(command)).toMatchObject({ outcome: "attested", holds: 0 });
      expect((await port.attest(command)).outcome).toBe("proof_replayed");
      expect(await written("backup.attested")).toBe(1);
    });

    it("keeps statements of one command apart, and the same one of it once", async () => {
      await held.heldCall(port, T0 + 1, grant);
      const statement = held.statementOf(T0);
      const elsewhere = held.statementOf(T0, { resource: "shop:volume/2" });
      const answer = await held.attest(port, T0 + 2, statement, elsewhere, statement);
      if (answer.outcome !== "attested") throw new Error(answer.outcome);
      const [first, second, third] = answer.attestations;
      expect([first?.resource, second?.resource, third?.id]).toEqual([held.VOLUME, "shop:volume/2", first?.id]);
      expect(answer.holds).toBe(1);
      const leaves = (await port.read(0, 1000)).map((leaf) => JSON.parse(leaf) as Record<string, unknown>);
      expect(leaves.filter(({ type }) => type === "backup.attested").map(({ attestation }) => attestation)).toEqual([
        first?.id,
        second?.id,
      ]);
    });

    it("wakes by a statement only what waits, and nothing later than it would be looked at", async () => {
      const firing = await held.claimed(port, T0 + 2, await held.heldCall(port, T0 + 1, grant));
      const early = await held.heldCall(port, T0 + 3, grant);
      const looked = await held.change(port, T0 + 4, early, { wakeAt: T0 + 5, event: null });
      expect(looked).toMatchObject({ outcome: "changed", hold: { version: 1 } });
      expect(await held.attest(port, T0 + 10, held.statementOf(T0))).toMatchObject({ holds: 1 });
      expect((await port.dueHolds(T0 + 5, 10)).map(({ hold }) => [hold.id, hold.version])).toEqual([[early.id, 2]]);
      expect((await port.findHold(firing.id))?.hold).toEqual(firing);
    });

    it("is the same as one that lives, also once an earlier one that a cut-off covered is written off", async () => {
      const first = await held.heldCall(port, T0 + 1, grant, { fingerprint: "f" });
      await cut(port, T0 + 2, { role: "domain-editor" });
      const fresh = await grantFrom(port, T0 + 3);
      const second = await held.heldCall(port, T0 + 10, fresh, { fingerprint: "f" });
      await held.cancel(port, T0 + 11, first);
      const third = await held.holdCall(port, T0 + 12, fresh, { fingerprint: "f" });
      expect(third).toEqual({ outcome: "existing", hold: second });
    });

    it("records no reading of an outcome that is not there", async () => {
      const hold = await held.heldCall(port, T0 + 1, grant);
      const reading = { at: T0 + 2, proof: proofAt(T0 + 2), id: hold.id, event: eventOf("outcome.read") };
      expect((await port.takeOutcome(reading)).outcome).toBe("not_found");
      expect(await written("outcome.read")).toBe(0);
      expect((await port.findHold(hold.id))?.hold).toEqual(hold);
    });

    it("asks for no grant of a task or a parent that is closed", async () => {
      const { id } = await cut(port, T0 + 1, { task: "closed" });
      const closed = await held.holdGrant(port, T0 + 10, { task: "closed" });
      expect(closed).toEqual({ outcome: "cut_off", revocation: id });
      const parent = await cut(port, T0 + 11, { grant: grant.id });
      const below = await held.holdGrant(port, T0 + 20, { parents: [grant.id] });
      expect(below).toEqual({ outcome: "cut_off", revocation: parent.id });
    });

    it("keeps cut-offs as long as anything of it can still happen", async () => {
      await held.heldCall(port, T0 + 1, grant);
      const first = await cut(port, T0 + 2, { role: "another" });
      expect(first.keptUntil).toBe(T0 + 1 + 2 * held.WEEK + TOLERANCE_MS);
      const hold = await held.heldCall(port, T0 + 3, grant);
      await held.change(port, T0 + 4, hold, { keepUntil: T0 + 5 * held.WEEK });
      expect((await cut(port, T0 + 5, { role: "another" })).keptUntil).toBe(T0 + 5 * held.WEEK + TOLERANCE_MS);
    });

    it("tells of no cut-off where it had ended before, and still of one where it fires", async () => {
      const ended = await held.heldCall(port, T0 + 1, grant);
      await held.cancel(port, T0 + 2, ended);
      const firing = await held.claimed(port, T0 + 4, await held.heldCall(port, T0 + 3, grant));
      const cutOff = await cut(port, T0 + 5, { agent: "coder" });
      expect((await port.findHold(ended.id))?.cutOff).toBeNull();
      expect((await port.findHold(firing.id))?.cutOff).toBe(cutOff.id);
      expect((await port.voidedHolds(null, 10)).map(({ hold }) => hold.id)).toEqual([firing.id]);
      expect((await port.countCancelled(cutOff)).holds).toBe(0);
    });

    it("is counted by the first cut-off that covers it, and by no other", async () => {
      await held.heldCall(port, T0 + 1, grant);
      const first = await cut(port, T0 + 2, { agent: "coder" });
      const second = await cut(port, T0 + 3, { upstream: "shop" });
      expect([(await port.countCancelled(first)).holds, (await port.countCancelled(second)).holds]).toEqual([1, 0]);
      const other = await grantFrom(port, T0 + 5, { agent: "other" });
      await held.heldCall(port, T0 + 6, other);
      const third = await cut(port, T0 + 7, { everything: true });
      expect((await port.countCancelled(third)).holds).toBe(1);
    });

    it("ends a held grant with whatever ends its hold, and an active one with none", async () => {
      for (const [i, state] of (["denied", "expired", "stale"] as const).entries()) {
        const at = T0 + 1 + i * 10;
        const { grant: waiting, hold } = await held.heldGrant(port, at);
        await held.change(port, at + 1, hold, { to: { state, endedBy: null, why: "why" } });
        expect((await port.findHold(hold.id))?.hold).toMatchObject({ state, endedBy: null, why: "why", version: 2 });
        expect((await port.find(waiting.id))?.grant).toMatchObject({ endedAt: at + 1, endedBy: hold.id, version: 2 });
      }
      const { grant: waiting, hold } = await held.heldGrant(port, T0 + 50);
      await held.activateHeld(port, T0 + 51, hold);
      const active = { endedAt: null, endedBy: null, endsAt: T0 + 51 + 600_000, version: 2, hold: hold.id };
      expect((await port.find(waiting.id))?.grant).toMatchObject(active);
      expect((await port.findHold(hold.id))?.hold).toMatchObject({ state: "done", stateAt: T0 + 51, version: 2 });
    });

    it("lists by every filter, alone and together, newest first", async () => {
      const other = await grantFrom(port, T0 + 1, { agent: "other" });
      const a = await held.heldCall(port, T0 + 2, grant, { task: "one" });
      const b = await held.heldCall(port, T0 + 3, grant, { task: "two" });
      const c = await held.heldCall(port, T0 + 4, other, { task: "two" });
      await held.cancel(port, T0 + 5, b);
      const found = async (filter: Parameters<HoldPort["listHolds"]>[0], limit = 10) =>
        (await port.listHolds(filter, limit)).map(({ hold }) => hold.id);
      expect(await found({})).toEqual([c.id, b.id, a.id]);
      expect(await found({}, 2)).toEqual([c.id, b.id]);
      expect(await found({ after: b.id })).toEqual([a.id]);
      expect(await found({ task: "two" })).toEqual([c.id, b.id]);
      expect(await found({ task: "two", agent: "coder" })).toEqual([b.id]);
      expect(await found({ agent: "coder", states: ["waiting", "firing"] })).toEqual([a.id]);
      expect(await found({ states: ["cancelled", "waiting"], agent: "coder" })).toEqual([b.id, a.id]);
      expect(await found({ states: ["waiting"], upstream: "shop", task: "two" })).toEqual([c.id]);
      expect(await found({ states: [] })).toEqual([]);
      expect(await found({ upstream: "elsewhere" })).toEqual([]);
    });
  });
}
