// What every engine does of a store that went backwards: from the moment that it is noticed it gives nothing, and stops
// whatever it is asked to stop; a person lets it go on, in a later epoch, with everything before void.

import { beforeEach, afterEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { drawRandomPart } from "../../src/core/ids.ts";
import type { CredentialPort } from "../../src/credentials/credential-port.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import type { ProofPort } from "../../src/identity/proof-port.ts";
import type { KnownPlace, StandingPort } from "../../src/replicas/standing-port.ts";
import type { RevocationPort, StoredCutOff } from "../../src/revocation/revocation-port.ts";
import type { SecretPort } from "../../src/secrets/secret-port.ts";
import {
  activate,
  begin,
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
import * as held from "./held-drafts.ts";
import { idAt } from "./ids-at.ts";

type Port = GrantPort &
  RevocationPort &
  RecordPort &
  ProofPort &
  CallPort &
  HoldPort &
  CredentialPort &
  SecretPort & { readonly standing: StandingPort };

const WENT_BACK = { code: "store_went_back" };
const NOWHERE: KnownPlace = { epoch: 0, seq: 0, last: "", feed: 0 };

export function describeStandingPort(engine: string, open: () => Promise<Opened<Port>>): void {
  describe(`a store that went backwards, in ${engine}`, () => {
    let opened: Opened<Port>;
    let port: Port;
    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
    });
    afterEach(() => opened.close());

    const known = (seq: number, rest: Partial<KnownPlace> = {}): KnownPlace => ({
      ...NOWHERE,
      seq,
      last: drawRandomPart(),
      ...rest,
    });
    /** It had ten entries more than it has. */
    const loseSome = async (rest: Partial<KnownPlace> = {}): Promise<KnownPlace> => {
      const before = known((await port.head()).seq + 10, rest);
      await port.standing.trust(before, T0);
      return before;
    };
    const recover = (at = T0 + MINUTE, rest: Partial<Parameters<StandingPort["recover"]>[0]> = {}) =>
      port.standing.recover({
        cutOff: cutOffCommand(at, { everything: true }),
        known: { ...NOWHERE, instant: 0 },
        keepUntil: at + 60 * MINUTE,
        event: eventOf("store.recovered"),
        ...rest,
      });
    const lost = (before: number, target: CutOffTarget, rest: Partial<StoredCutOff> = {}): StoredCutOff => ({
      id: idAt("rev", before),
      number: 7,
      target,
      before,
      reason: "lost",
      by: "security-1",
      keptUntil: before + 60 * MINUTE,
      closed: target.grant !== undefined || target.task !== undefined,
      ...rest,
    });
    const restore = (cutOff: StoredCutOff, epoch = 0, feed = 7): Promise<boolean> =>
      port.standing.restoreCutOff({ at: T0, epoch, feed, cutOff, event: eventOf("cutoff.restored") });

    it("stands where it was, as long as what is known of it is there", async () => {
      await grantFrom(port, T0);
      const { seq } = await port.head();
      const [leaf = ""] = await port.read(seq - 1, 1);
      const last = /"evt_.{10}(.{16})"/.exec(leaf)?.[1] ?? "";
      await port.standing.trust({ epoch: 0, seq, last, feed: 0 }, T0);
      expect(await port.standing.standing()).toMatchObject({ epoch: 0, seq, wentBack: null, recoveredAt: 0 });
      expect((await issue(port, T0)).outcome).toBe("issued");
    });

    it("is noticed where it has fewer entries than were known", async () => {
      const before = await loseSome();
      const { seq } = await port.head();
      const { wentBack } = await port.standing.standing();
      expect(wentBack).toMatchObject({ known: { epoch: 0, seq: before.seq }, found: { epoch: 0, seq } });
    });

    it("is noticed where it has as many entries, and more, of another history", async () => {
      const { seq } = await port.head();
      await grantFrom(port, T0);
      await port.standing.trust(known(seq), T0);
      expect((await port.standing.standing()).wentBack).not.toBeNull();
    });

    it("is noticed where it was recovered less often", async () => {
      await port.standing.trust(known(0, { epoch: 1 }), T0);
      expect((await port.standing.standing()).wentBack).toMatchObject({ known: { epoch: 1 }, found: { epoch: 0 } });
    });

    it("gives nothing from then on, also after a restart", async () => {
      const grant = await grantFrom(port, T0);
      await loseSome();
      for (let i = 0; i < 2; i++) {
        await expect(issue(port, T0)).rejects.toMatchObject(WENT_BACK);
        await expect(renew(port, T0, grant)).rejects.toMatchObject(WENT_BACK);
        await expect(begin(port, T0, grant)).rejects.toMatchObject(WENT_BACK);
        port = await opened.reopen();
      }
    });

    it("lifts no stop and takes no secret and no other policy from people", async () => {
      await port.freeze({ ...cutOffCommand(T0, { agent: "coder" }), agent: "coder" });
      const { id } = await cut(port, T0, { task: "t" });
      await loseSome();
      const unfreeze = { at: T0, proof: proofAt(T0), agent: "coder", event: eventOf("agent.unfrozen") };
      await expect(port.unfreeze(unfreeze)).rejects.toMatchObject(WENT_BACK);
      const reopen = { at: T0, proof: proofAt(T0), id, event: eventOf("cutoff.reopened") };
      await expect(port.reopen(reopen)).rejects.toMatchObject(WENT_BACK);
      const policy = { at: T0, proof: proofAt(T0), digest: "b".repeat(64), event: eventOf("policy.activated") };
      await expect(port.activatePolicy(policy)).rejects.toMatchObject(WENT_BACK);
      const sealed = { sealedKey: new Uint8Array(40), sealedValue: new Uint8Array(40) };
      const secret = { name: "s", version: 1, origins: ["https://a.example"], createdBy: "admin-1", ...sealed };
      const put = { at: T0, proof: proofAt(T0), secret, event: eventOf("secret.put") };
      await expect(port.putSecret(put)).rejects.toMatchObject(WENT_BACK);
    });

    it("still cuts off, freezes, releases, reads and records", async () => {
      const [grant, other] = [await grantFrom(port, T0), await grantFrom(port, T0)];
      await loseSome();
      await cut(port, T0, { grant: grant.id });
      expect((await port.freeze({ ...cutOffCommand(T0, { agent: "a" }), agent: "a" })).outcome).toBe("frozen");
      expect((await release(port, T0, other)).outcome).toBe("released");
      expect(await port.consume(proofAt(T0), T0)).toBe(true);
      const appended = await port.append({ at: T0, proof: proofAt(T0), events: [eventOf("clock.acknowledged")] });
      expect(appended.outcome).toBe("appended");
    });

    it("orders no credential at another system, and still writes down what became of one", async () => {
      const { id, agent, task, role, upstream, endsAt } = await grantFrom(port, T0);
      const place = { handle: "vk_1", address: "postgres://db:5432/shop", policy: "p".repeat(64), dueAt: T0 + MINUTE };
      const credential = { grant: id, agent, task, role, upstream, kind: "postgres", endsAt, ...place } as const;
      const order = (at: number) =>
        port.orderCredential({ at, agent, policyDigest: POLICY, credential, event: eventOf("credential.ordered") });
      const done = await order(T0);
      if (done.outcome !== "ordered") throw new Error(`expected an order, found ${done.outcome}`);
      await loseSome();
      await expect(order(T0 + MINUTE)).rejects.toMatchObject(WENT_BACK);
      expect(await port.findCredential(id)).toEqual(done.credential);
      const ending = { ...done.credential, state: "ending", endingSince: T0 } as const;
      const event = eventOf("credential.unconfirmed");
      const { version } = done.credential;
      const change = { at: T0, grant: id, version, to: ending, endGrantBy: "credential.failed", event };
      const changed = { outcome: "changed", credential: { version: version + 1 } };
      expect(await port.changeCredential(change)).toMatchObject(changed);
      expect((await port.find(id))?.grant.endedBy).toBe("credential.failed");
    });

    it("gives no number of the feed again that was given in what it lost", async () => {
      await loseSome({ feed: 12 });
      expect((await cut(port, T0, { agent: "a" })).number).toBe(13);
    });

    it("can be marked by who has read the record, once, and not for what was before the last recovery", async () => {
      await port.standing.markWentBack(known(3, { feed: 4 }), T0);
      const { wentBack } = await port.standing.standing();
      expect(wentBack).toMatchObject({ known: { seq: 3 } });
      await port.standing.markWentBack(known(5), T0 + 1);
      expect((await port.standing.standing()).wentBack).toEqual(wentBack);
      await recover();
      await port.standing.markWentBack(known(5), T0 + 1);
      expect((await port.standing.standing()).wentBack).toBeNull();
    });

    it("takes back a cut-off that it lost, once, under its own id and a number above all", async () => {
      const grant = await grantFrom(port, T0);
      const missing = lost(T0 + 5, { agent: "coder" });
      await loseSome();
      expect(await restore(missing)).toBe(true);
      expect(await restore(missing)).toBe(false);
      expect(await port.findCutOff(missing.id)).toMatchObject({ ...missing, number: 8, keptUntil: expect.any(Number) });
      expect((await port.find(grant.id))?.cutOff).toBe(missing.id);
      expect((await port.snapshot(T0)).number).toBe(8);
    });

    it("voids by what it took back also where later cut-offs came before it", async () => {
      const grant = await grantFrom(port, T0);
      await loseSome();
      await cut(port, T0 + 100, { agent: "another" });
      await cut(port, T0 + 200, { role: "another" });
      const missing = lost(T0 + 5, { upstream: "shop" });
      await restore(missing);
      await restore(lost(T0 + 50, { agent: "a third" }));
      expect((await port.find(grant.id))?.cutOff).toBe(missing.id);
      const befores = (await port.snapshot(T0)).cutOffs.map(({ before }) => before);
      expect(befores).toEqual(befores.toSorted((a, b) => a - b));
    });

    it("takes back closures and freezes", async () => {
      await loseSome();
      const { task } = draftGrant();
      await restore(lost(T0 + 5, { task }));
      const revocation = idAt("rev", T0 + 5);
      const freeze = { at: T0, epoch: 0, agent: "frozen", revocation, event: eventOf("cutoff.restored") };
      expect(await port.standing.restoreFreeze(freeze)).toBe(true);
      expect(await port.standing.restoreFreeze(freeze)).toBe(false);
      await recover();
      expect((await issue(port, T0 + 2 * MINUTE)).outcome).toBe("cut_off");
      expect((await issue(port, T0 + 2 * MINUTE, { agent: "frozen", task: "u" })).outcome).toBe("agent_frozen");
    });

    it("takes back nothing that is over, and nothing while nothing was lost", async () => {
      expect(await restore(lost(T0 + 5, { agent: "a" }))).toBe(false);
      await loseSome();
      expect(await restore(lost(T0 - 5 * MINUTE, { agent: "a" }, { keptUntil: T0 - MINUTE }))).toBe(false);
      await recover();
      expect(await restore(lost(T0 + 5, { agent: "a" }), 1)).toBe(false);
      // Of a broker that comes back after the recovery.
      expect(await restore(lost(T0 + 5, { agent: "a" }, { keptUntil: T0 + 60 * MINUTE }), 0)).toBe(true);
    });

    it("is recovered by a person, once, with both entries on record", async () => {
      await loseSome();
      const { seq } = await port.head();
      const command = cutOffCommand(T0 + MINUTE, { everything: true });
      const done = await recover(T0 + MINUTE, { cutOff: command });
      expect(done).toMatchObject({ outcome: "recovered", epoch: 1, cutOff: { target: { everything: true } } });
      expect(await recover(T0 + MINUTE, { cutOff: command })).toEqual({ outcome: "proof_replayed" });
      expect(await recover(T0 + 3 * MINUTE)).toEqual({ outcome: "not_needed" });
      const types = (await port.read(seq, 9)).map((text) => (JSON.parse(text) as { type: string }).type);
      expect(types).toEqual(["cutoff.created", "store.recovered"]);
      expect(await port.standing.standing()).toMatchObject({ epoch: 1, wentBack: null, recoveredAt: T0 + MINUTE });
      expect((await issue(port, T0 + 2 * MINUTE)).outcome).toBe("issued");
    });

    it("has everything before void after it, kept until nothing can be left of it", async () => {
      const grant = await grantFrom(port, T0);
      await loseSome();
      const done = await recover(T0 + MINUTE, { keepUntil: T0 + 90 * MINUTE });
      expect((await renew(port, T0 + 2 * MINUTE, grant)).outcome).toBe("cut_off");
      expect((await begin(port, T0 + 2 * MINUTE, grant)).outcome).toBe("cut_off");
      if (done.outcome !== "recovered") throw new Error("expected a recovery");
      expect(done.cutOff.keptUntil).toBeGreaterThan(T0 + 90 * MINUTE);
    });

    it("gives no instant after it that was given before", async () => {
      await loseSome();
      const instant = T0 + 5 * MINUTE;
      await recover(T0 + MINUTE, { known: { ...NOWHERE, epoch: 4, feed: 30, instant } });
      expect(await port.standing.standing()).toMatchObject({ epoch: 5, recoveredAt: instant });
      const grant = await grantFrom(port, instant + 1);
      expect(grant.issuedAt).toBeGreaterThan(instant);
      expect((await cut(port, grant.issuedAt, { agent: "a" })).number).toBe(32);
    });

    it("accepts no proof from before, for writes, reads and stops, also after a restart", async () => {
      await loseSome();
      await recover();
      const early = () => proofAt(T0 + MINUTE);
      for (let i = 0; i < 2; i++) {
        expect((await issue(port, T0 + MINUTE, {}, { proof: early() })).outcome).toBe("proof_replayed");
        expect(await port.consume(early(), T0 + MINUTE)).toBe(false);
        const stop = await port.cutOff(cutOffCommand(T0 + MINUTE, { agent: "a" }, early()));
        expect(stop.outcome).toBe("proof_replayed");
        port = await opened.reopen();
      }
      const later = proofAt(T0 + MINUTE + 1);
      expect((await issue(port, T0 + MINUTE + 1, {}, { proof: later })).outcome).toBe("issued");
    });

    it("fires nothing that waited, before it is recovered and after it", async () => {
      const grant = await grantFrom(port, T0);
      const hold = await held.heldCall(port, T0 + 1, grant);
      await loseSome();
      await expect(held.claim(port, T0 + 2, hold)).rejects.toMatchObject(WENT_BACK);
      await expect(held.holdCall(port, T0 + 2, grant)).rejects.toMatchObject(WENT_BACK);
      const done = await recover();
      const claimed = await held.claim(port, T0 + 2 * MINUTE, hold);
      expect(claimed).toEqual({ outcome: "cut_off", revocation: done.outcome === "recovered" && done.cutOff.id });
      // Rule 36: whatever had not ended is stale, and not only cut off; what is asked from here on is not.
      expect(await port.voidedHolds(null, 10)).toMatchObject([{ hold: { id: hold.id }, isOfLostPast: true }]);
      expect(await port.findHold(hold.id)).toMatchObject({ isOfLostPast: true });
      const later = await held.heldCall(port, T0 + 3 * MINUTE, await grantFrom(port, T0 + 3 * MINUTE));
      await cut(port, T0 + 4 * MINUTE, { agent: "coder" });
      expect((await port.findHold(later.id))?.isOfLostPast ?? false).toBe(false);
    });

    it("goes back a second time, behind what was known since", async () => {
      await loseSome();
      await recover();
      await port.standing.trust(known(2, { epoch: 0 }), T0);
      expect((await port.standing.standing()).wentBack).toBeNull();
      await port.standing.trust(known((await port.head()).seq + 1, { epoch: 1 }), T0);
      await expect(issue(port, T0 + 2 * MINUTE)).rejects.toMatchObject(WENT_BACK);
      expect(await recover(T0 + 3 * MINUTE)).toMatchObject({ outcome: "recovered", epoch: 2 });
    });

    it("refuses another policy's decision as before, and not as lost", async () => {
      expect((await issue(port, T0, { policyDigest: "c".repeat(64) })).outcome).toBe("policy_changed");
      expect((await port.policyInForce()).digest).toBe(POLICY);
    });
  });
}
