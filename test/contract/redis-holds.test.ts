// Holds in Redis beyond the contract: several brokers, clocks that differ, many that wait.

import { describe, expect, it } from "vitest";
import { toAttestationOnWire } from "../../src/store/redis/hold-rows.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { activate, cut, eventOf, grantFrom, proofAt, T0 } from "./drafts.ts";
import * as held from "./held-drafts.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

const DAY = 86_400_000;
const MANY = 20_000;

/** As many as there are asked for, each as this one but for its id, agent and task. Written as the scripts write them. */
async function copy({ client, base }: Parts, id: string, count: number): Promise<void> {
  const row = await client.hgetall(`${base}hold:${id}`);
  const wakeAt = Number(await client.zscore(`${base}holds:due`, id));
  for (let from = 0; from < count; from += 1000) {
    const batch = client.pipeline();
    for (let i = from; i < from + 1000; i++) {
      const own = id.slice(0, 24) + String(i).padStart(6, "0");
      const agent = `agent-${i % 7}`;
      const texts = [row["draft"], row["subject"]].map((text) => (text ?? "").replaceAll(id, own));
      const fields = { agent, task: "a crowd", fingerprint: own, draft: texts[0] ?? "", subject: texts[1] ?? "" };
      batch.hset(`${base}hold:${own}`, { ...row, ...fields });
      for (const name of ["holds", "holds:live", `holds:agent:${agent}`, `holds:live:${agent}`])
        batch.zadd(base + name, 0, own);
      batch.zadd(`${base}holds:due`, wakeAt + 1 + i, own);
      batch.hset(`${base}holds:same`, own, own);
      batch.zadd(`${base}holds:of:${held.VOLUME}`, 0, own);
    }
    await batch.exec();
  }
}

useRedis();

/** The policy of the drafts is in force. */
const withHolds: typeof withTwoBrokers = (act) =>
  withTwoBrokers(async (one, other) => {
    await activate(one);
    await act(one, other);
  });

describe("holds of several brokers", { timeout: 60_000 }, () => {
  it("are claimed by one of two brokers, or stopped by the other", async () => {
    await withHolds(async (one, other) => {
      for (let round = 0; round < 20; round++) {
        const at = T0 + 10 + round * 10;
        const grant = await grantFrom(one, at);
        const hold = await held.heldCall(one, at + 1, grant);
        const answers = await Promise.all([
          held.claim(one, at + 2, hold),
          held.claim(other, at + 2, hold),
          held.cancel(other, at + 2, hold),
        ]);
        const wins = answers.map(({ outcome }) => outcome).filter((outcome) => outcome !== "conflict");
        expect(wins.length).toBe(1);
        const second = await held.heldCall(one, at + 3, grant, { perAgent: 1000 });
        const [cutOff, fired] = await Promise.all([
          cut(one, at + 4, { agent: "coder" }),
          held.claim(other, at + 4, second),
        ]);
        if (fired.outcome !== "claimed") expect(fired).toEqual({ outcome: "cut_off", revocation: cutOff.id });
      }
    });
  });

  it("are the same for two brokers that are asked for the same at once", async () => {
    await withHolds(async (one, other) => {
      const changes = { fingerprint: "f", limit: { agent: "coder", role: "domain-editor", perMinute: 1 } };
      const [first, second] = await Promise.all([one, other].map((port) => held.holdGrant(port, T0 + 1, changes)));
      expect([first, second].map((answer) => answer?.outcome ?? "").toSorted()).toEqual(["existing", "held"]);
      if (first === undefined || !("hold" in first) || second === undefined || !("hold" in second)) throw new Error();
      expect(first.hold).toEqual(second.hold);
      expect(first).toMatchObject({ grant: "grant" in second ? second.grant : null });
      expect((await one.listHolds({}, 10)).length).toBe(1);
    });
  });

  it("are not made with an instant that is after that of every cut-off of this moment", async () => {
    await withHolds(async (one) => {
      const grant = await grantFrom(one, Date.now());
      const ahead = Date.now() + 20_000;
      await expect(held.holdCall(one, ahead, grant)).rejects.toThrow(/clock is ahead/);
      await expect(held.holdGrant(one, ahead)).rejects.toThrow(/clock is ahead/);
      expect(await one.listHolds({}, 10)).toEqual([]);
      // By a server's clock that went back since, the next instant is the one after the last cut-off.
      await one.client.hset(`${one.base}meta`, { instant: ahead, last_before: ahead });
      expect(await held.holdCall(one, ahead, grant)).toEqual({ outcome: "instant_behind", instant: ahead });
      const hold = await held.heldCall(one, ahead + 1, grant);
      expect(hold.stateAt).toBe(ahead + 1);
      await expect(held.holdCall(one, ahead + 3, grant)).rejects.toThrow(/clock is ahead/);
    });
  });

  it("are not due any more when another has claimed them since they were looked for", async () => {
    await withHolds(async (one) => {
      const grant = await grantFrom(one, T0);
      const firing = await held.claimed(one, T0 + 2, await held.heldCall(one, T0 + 1, grant));
      const waiting = await held.heldCall(one, T0 + 3, grant);
      // As a look that came before would have found them.
      await one.client.zadd(`${one.base}holds:firing`, T0 + 3, firing.id);
      await one.client.zadd(`${one.base}holds:due`, T0 + 3, waiting.id, T0 + 3, firing.id);
      expect((await one.dueHolds(T0 + 4, 10)).map(({ hold }) => hold.id)).toEqual([waiting.id]);
    });
  });

  it("read no proof of theirs as another's, whatever became of it", async () => {
    await withHolds(async (one, other) => {
      const hold = await held.heldCall(one, T0 + 1, await grantFrom(one, T0));
      const proof = proofAt(T0 + 2);
      const to = { state: "cancelled", endedBy: "a", why: null } as const;
      expect((await held.change(one, T0 + 2, { ...hold, version: 7 }, { proof, to })).outcome).toBe("conflict");
      expect(await other.consume(proof, T0 + 3)).toBe(false);
      expect((await held.change(other, T0 + 4, hold, { proof, to })).outcome).toBe("changed");
      expect((await held.change(one, T0 + 5, hold, { proof, to })).outcome).toBe("proof_replayed");
    });
  });

  it("leave nothing behind when they and what they waited for are old", async () => {
    await withHolds(async (one) => {
      const grant = await grantFrom(one, T0);
      const signed = await held.approve(one, T0 + 2, await held.heldCall(one, T0 + 1, grant));
      if (signed.outcome !== "changed") throw new Error(signed.outcome);
      const fired = await held.claimed(one, T0 + 3, signed.hold);
      await held.settle(one, T0 + 4, fired);
      await held.cancel(one, T0 + 6, await held.heldCall(one, T0 + 5, grant));
      const { hold } = await held.heldGrant(one, T0 + 7);
      await held.activateHeld(one, T0 + 8, hold);
      await held.attest(one, T0 + 9, held.statementOf(T0 + 9));
      for (const days of [31, 91]) {
        await one.append({ at: T0 + days * DAY, proof: null, events: [eventOf("a.written")] });
        await prune(one.scripts);
      }
      const keys = (await one.client.keys(`${one.base.replaceAll(/[{}]/g, "?")}*`)).map((name) =>
        name.slice(one.base.length),
      );
      expect(keys.filter((name) => !name.startsWith("op:")).toSorted()).toEqual([
        "changes",
        "drafts",
        "meta",
        "record",
      ]);
    });
  });

  it("go on waking where the broker that took the statement has gone", async () => {
    await withHolds(async (one, other) => {
      const grant = await grantFrom(one, T0);
      await copy(one, (await held.heldCall(one, T0 + 1, grant)).id, 1000);
      const event = { random: "0".repeat(16), fields: "{}" };
      const attestations = [{ ...toAttestationOnWire(held.statementOf(T0)), event }];
      const command = { at: T0 + 2, proof: proofAt(T0 + 2), agent: "backup-1", attestations };
      expect((await one.scripts.run("attest", command))[1]).toBe("500");
      expect((await other.dueHolds(T0 + 2, 2000)).length).toBe(1001);
      expect(await other.client.exists(`${other.base}wakings`)).toBe(0);
      const [newest] = await other.listHolds({}, 1);
      expect(newest?.hold.version).toBe(2);
    });
  });

  it("let the few be found that are looked for, and a cut-off be written down for all of a crowd", async () => {
    await withHolds(async (one, other) => {
      const grant = await grantFrom(one, T0);
      await copy(one, (await held.heldCall(one, T0 + 1, grant)).id, MANY);
      const rare = await held.heldCall(one, T0 + 2, grant, { task: "rare" });
      expect(await other.dueHolds(T0 + held.WEEK, 10)).toEqual([]);
      expect((await other.dueHolds(T0 + 1 + held.WEEK, 10)).length).toBe(1);
      expect((await other.dueHolds(T0 + 2 * held.WEEK, 10)).length).toBe(10);
      const oldest = await other.listHolds({ task: "fix the checkout" }, 10);
      expect(oldest.map(({ hold }) => hold.document.task)).toEqual(["fix the checkout"]);
      expect((await other.listHolds({ task: "rare", states: ["waiting"] }, 10)).map(({ hold }) => hold.id)).toEqual([
        rare.id,
      ]);
      expect(await other.listHolds({ task: "none" }, 10)).toEqual([]);
      expect((await other.listHolds({}, MANY * 2)).length).toBe(MANY + 2);
      expect((await other.listHolds({ agent: "agent-0", states: ["waiting"] }, MANY)).length).toBe(Math.ceil(MANY / 7));

      const attested = await held.attest(one, T0 + 3, held.statementOf(T0));
      expect(attested).toMatchObject({ holds: MANY + 2 });

      await cut(one, T0 + 3, { task: "rare" });
      expect((await other.voidedHolds(null, 10)).map(({ hold }) => hold.id)).toEqual([rare.id]);
      const all = await cut(one, T0 + 4, { everything: true });
      expect((await other.countCancelled(all)).holds).toBe(10_000);
      let walked = 0;
      for (let page = await other.voidedHolds(null, 5000); page.length > 0;) {
        walked += page.length;
        page = await other.voidedHolds(page.at(-1)?.hold.id ?? null, 5000);
      }
      expect(walked).toBe(MANY + 2);
    });
  });
});
