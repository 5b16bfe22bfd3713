// The contract of grants that wait: no live grant for anything that asks for one until their hold fires, then for as long
// as any other, and over with a hold that ends. Held apart from the contract of holds for its length alone.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort, StoredGrant } from "../../src/grants/grant-port.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import { activate, begin, cut, eventOf, grantFrom, MINUTE, type Opened, proofAt, release, T0 } from "./drafts.ts";
import * as held from "./held-drafts.ts";

type Ports = HoldPort & CallPort & GrantPort & RevocationPort;

export function describeHeldGrants(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`a held grant in ${name}`, { timeout: 60_000 }, () => {
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

    it("is no live grant for anything that asks for one", async () => {
      const { grant: waiting, hold } = await held.heldGrant(port, T0 + 1);
      expect(waiting).toMatchObject({ endsAt: 0, hold: hold.id, reason: "why", demands: hold.document.demands });
      expect((await port.find(waiting.id))?.grant).toEqual(waiting);
      expect((await begin(port, T0 + 2, waiting)).outcome).toBe("ended");
      const { id, agent } = waiting;
      const event = eventOf("credential.renewed");
      const renewal = { at: T0 + 2, proof: proofAt(T0 + 2), id, agent, policyDigest: "a".repeat(64), event };
      expect(await port.renew(renewal)).toEqual({ outcome: "held_back", hold: hold.id });
      expect(await port.release({ ...renewal, proof: proofAt(T0 + 3) })).toEqual({
        outcome: "held_back",
        hold: hold.id,
      });
      const listed = async (status: "held" | "active" | "ended") =>
        (await port.list({ status, task: waiting.task }, T0 + 3, 10)).map((one) => one.grant.id);
      expect(await listed("held")).toEqual([waiting.id]);
      expect(await listed("active")).toEqual([grant.id]);
      expect(await listed("ended")).toEqual([]);
      const cutOff = await cut(port, T0 + 4, { agent: "coder" });
      expect(await port.countMet(cutOff, T0 + 5)).toBe(1);
      expect((await port.find(waiting.id))?.cutOff).toBe(cutOff.id);
    });

    it("becomes active in one step, its life from then on, however long it waited", async () => {
      const { grant: waiting, hold } = await held.heldGrant(port, T0 + 1);
      const at = T0 + held.WEEK;
      const command = { at, id: hold.id, version: 1, policyDigest: "a".repeat(64), notBefore: at };
      const event = eventOf("hold.fired");
      expect((await port.activate({ ...command, at: at - 1, event })).outcome).toBe("too_early");
      const answers = await Promise.all([port.activate({ ...command, event }), port.activate({ ...command, event })]);
      expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(["activated", "conflict"]);
      expect((await port.find(waiting.id))?.grant).toMatchObject({ endsAt: at + 600_000, issuedAt: T0 + 1 });
      expect((await port.findHold(hold.id))?.hold.state).toBe("done");
      expect((await begin(port, at + 1, waiting)).outcome).toBe("begun");
      // Live scans see it, though its id lies a week back.
      expect((await port.list({ status: "active" }, at + 2, 10)).map((one) => one.grant.id)).toEqual([waiting.id]);
      const shapes = await port.liveShapes("b".repeat(64), at + 2);
      expect(shapes).toMatchObject([{ grants: 1, demands: hold.document.demands }]);
      const cutOff = await cut(port, at + 3, { role: "domain-editor" });
      expect(await port.countMet(cutOff, at + 4)).toBe(1);
      expect((await begin(port, at + 5, waiting)).outcome).toBe("cut_off");
    });

    it("ends with its hold, in the same step", async () => {
      const { grant: waiting, hold } = await held.heldGrant(port, T0 + 1);
      await held.cancel(port, T0 + 2, hold);
      expect((await port.find(waiting.id))?.grant).toMatchObject({ endedAt: T0 + 2, endedBy: hold.id, endsAt: 0 });
      expect((await port.list({ status: "ended" }, T0 + 3, 10)).map((one) => one.grant.id)).toEqual([waiting.id]);
    });

    it("asked for again is the same grant and hold, and a used proof gives neither", async () => {
      const proof = proofAt(T0 + 1);
      const first = await held.holdGrant(port, T0 + 1, { fingerprint: "f", proof });
      const second = await held.holdGrant(port, T0 + 2, { fingerprint: "f" });
      if (first.outcome !== "held" || second.outcome !== "existing") throw new Error(second.outcome);
      expect(second).toMatchObject({ grant: first.grant, hold: first.hold });
      expect((await held.holdGrant(port, T0 + 3, { proof })).outcome).toBe("proof_replayed");
    });

    it("is not active where a cut-off came after it was asked for", async () => {
      const { hold } = await held.heldGrant(port, T0 + 1);
      await cut(port, T0 + 2, { upstream: "shop" });
      const command = { at: T0 + 3, id: hold.id, version: 1, policyDigest: "a".repeat(64), notBefore: 0 };
      expect((await port.activate({ ...command, event: eventOf("hold.fired") })).outcome).toBe("cut_off");
    });

    it("is kept while it waits, when everything else of its age is gone", async () => {
      const { grant: waiting } = await held.heldGrant(port, T0 + 1);
      await grantFrom(port, T0 + 40 * 24 * 60 * MINUTE);
      await grantFrom(port, T0 + 41 * 24 * 60 * MINUTE);
      expect(await port.find(waiting.id)).not.toBeNull();
      expect(await port.find(grant.id)).toBeNull();
    });

    it("is counted by no cut-off that came before it was asked for, however late it became active", async () => {
      const early = await cut(port, T0 + 1, { role: "domain-editor" });
      const { hold } = await held.heldGrant(port, T0 + 2);
      const at = T0 + held.WEEK;
      expect((await held.activateHeld(port, at, hold)).outcome).toBe("activated");
      expect(await port.countMet(early, at + 1)).toBe(0);
      expect(await port.countMet(await cut(port, at + 2, { role: "domain-editor" }), at + 3)).toBe(1);
    });

    it("is another shape than a grant that waited for nothing", async () => {
      const { hold } = await held.heldGrant(port, T0 + 1);
      await held.activateHeld(port, T0 + 2, hold);
      const shapes = await port.liveShapes("b".repeat(64), T0 + 3);
      const byDemands = new Map(shapes.map(({ demands, grants }) => [demands.length, grants]));
      expect(byDemands).toEqual(
        new Map([
          [0, 1],
          [1, 1],
        ]),
      );
    });

    it("is counted once by the limit of a minute, and one that was there already is not", async () => {
      const limit = { agent: "coder", role: "domain-editor", perMinute: 1 };
      const first = await held.holdGrant(port, T0 + 1, { fingerprint: "f", limit });
      expect(first.outcome).toBe("held");
      expect((await held.holdGrant(port, T0 + 2, { fingerprint: "f", limit })).outcome).toBe("existing");
      expect((await held.holdGrant(port, T0 + 3, { limit })).outcome).toBe("limit_reached");
    });

    it("needs live parents when it is asked for and when it becomes active, and never outlives one", async () => {
      const { hold, grant: child } = await held.heldGrant(port, T0 + 1, { parents: [grant.id] });
      expect((await held.activateHeld(port, grant.endsAt - 5, hold)).outcome).toBe("activated");
      expect((await port.find(child.id))?.grant.endsAt).toBe(grant.endsAt);

      const parent = await grantFrom(port, grant.endsAt, { task: "another" });
      const orphan = await held.heldGrant(port, grant.endsAt + 1, { parents: [parent.id], task: "another" });
      await release(port, grant.endsAt + 2, parent);
      expect((await held.activateHeld(port, grant.endsAt + 3, orphan.hold)).outcome).toBe("conflict");
      await expect(held.holdGrant(port, grant.endsAt + 4, { parents: [parent.id] })).rejects.toThrow(/live parent/);
    });

    it("is not given below a parent that is cut off by what only the parent has", async () => {
      const parent = await grantFrom(port, T0 + 1, { role: "planner" });
      const { hold } = await held.heldGrant(port, T0 + 2, { parents: [parent.id] });
      const { id } = await cut(port, T0 + 3, { role: "planner" });
      expect(await held.holdGrant(port, T0 + 10, { parents: [parent.id] })).toEqual({
        outcome: "cut_off",
        revocation: id,
      });
      expect((await held.activateHeld(port, T0 + 11, hold)).outcome).toBe("cut_off");
    });

    it("becomes active by its own transition alone: a claim of its hold is refused", async () => {
      const { hold, grant: waiting } = await held.heldGrant(port, T0 + 1);
      expect((await held.claim(port, T0 + 2, hold)).outcome).toBe("conflict");
      expect((await port.find(waiting.id))?.grant).toEqual(waiting);
      const call = await held.heldCall(port, T0 + 3, grant);
      expect((await held.activateHeld(port, T0 + 4, call)).outcome).toBe("conflict");
    });
  });
}
