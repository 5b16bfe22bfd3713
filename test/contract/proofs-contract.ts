// The contract of proofs: one use, whatever it is used for and whenever, restarts included.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { ProofPort } from "../../src/identity/proof-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import type { KeyPort } from "../../src/secrets/key-port.ts";
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
  renew,
  T0,
} from "./drafts.ts";

type Ports = ProofPort & RecordPort & GrantPort & RevocationPort & KeyPort;

export function describeProofPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`proofs in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
      await activate(port);
    });
    afterEach(() => opened.close());

    it("accepts a proof once", async () => {
      const proof = proofAt(T0);
      expect(await port.consume(proof, T0)).toBe(true);
      expect(await port.consume(proof, T0)).toBe(false);
    });

    it("lets exactly one of 100 concurrent reads use a proof", async () => {
      const proof = proofAt(T0);
      const answers = await Promise.all(Array.from({ length: 100 }, () => port.consume(proof, T0)));
      expect(answers.filter(Boolean)).toHaveLength(1);
    });

    it("refuses a read's proof on a write, also while the read is under way", async () => {
      const proof = proofAt(T0);
      const [read, write] = await Promise.all([port.consume(proof, T0), issue(port, T0, {}, { proof })]);
      expect([read, write.outcome]).toEqual([true, "proof_replayed"]);
      expect((await issue(port, T0, {}, { proof })).outcome).toBe("proof_replayed");
    });

    it("refuses a write's proof on a read, also while the write is under way", async () => {
      const proof = proofAt(T0);
      const write = issue(port, T0, {}, { proof });
      expect(await port.consume(proof, T0)).toBe(false);
      expect((await write).outcome).toBe("issued");
      expect(await port.consume(proof, T0)).toBe(false);
    });

    it("lets exactly one of 100 concurrent issues with one proof win", async () => {
      const proof = proofAt(T0);
      const answers = await Promise.all(Array.from({ length: 100 }, () => issue(port, T0, {}, { proof })));
      expect(answers.filter((answer) => answer.outcome === "issued")).toHaveLength(1);
      expect(answers.filter((answer) => answer.outcome === "proof_replayed")).toHaveLength(99);
    });

    it("remembers a write's proof across a restart, for reads and for writes", async () => {
      const proof = proofAt(T0);
      await issue(port, T0, {}, { proof });
      port = await opened.reopen();
      expect((await issue(port, T0 + 1, {}, { proof })).outcome).toBe("proof_replayed");
      port = await opened.reopen();
      expect(await port.consume(proof, T0 + 2)).toBe(false);
    });

    it("remembers a read's proof across an orderly restart", async () => {
      const proof = proofAt(T0);
      await port.consume(proof, T0);
      port = await opened.reopen();
      expect(await port.consume(proof, T0 + 1)).toBe(false);
      expect((await issue(port, T0 + 1, {}, { proof })).outcome).toBe("proof_replayed");
    });

    it("leaves the proof of a refused write for the record of the refusal, and for nothing else", async () => {
      await port.freeze({ ...cutOffCommand(T0, { agent: "coder" }), agent: "coder" });
      const proof = proofAt(T0 + 1);
      expect((await issue(port, T0 + 1, {}, { proof })).outcome).toBe("agent_frozen");
      expect(await port.consume(proof, T0 + 1)).toBe(false);
      const command = { at: T0 + 1, proof, events: [eventOf("grant.refused")] };
      expect((await port.append(command)).outcome).toBe("appended");
      expect((await port.append(command)).outcome).toBe("proof_replayed");
    });

    it("still knows a proof when the clock is set back by as much as is tolerated", async () => {
      const proof = proofAt(T0);
      await issue(port, T0, {}, { proof });
      await issue(port, proof.forgetAt + 20_000);
      expect((await issue(port, proof.forgetAt - 5000, {}, { proof })).outcome).toBe("proof_replayed");
    });

    describe("when the clock has gone back further than proofs are remembered", () => {
      const NOW = T0 + 10 * MINUTE;
      const behind = { outcome: "clock_behind", instant: NOW };

      /** Uses a proof for a revocation, lets writes of ten minutes prune it, and gives it back. */
      async function pruneProof(): Promise<ReturnType<typeof proofAt>> {
        const proof = proofAt(T0);
        expect((await port.cutOff(cutOffCommand(T0, { agent: "mallory" }, proof))).outcome).toBe("cut_off");
        for (let at = T0 + MINUTE; at <= NOW; at += MINUTE)
          await port.append({ at, proof: proofAt(at), events: [eventOf("a.written")] });
        return proof;
      }

      it("refuses a proof that may be forgotten on everything that gives, whatever instant the caller names", async () => {
        const closed = await cut(port, T0, { task: "closed" });
        const grant = await grantFrom(port, T0, { ttlSeconds: 3600 });
        await port.freeze({ ...cutOffCommand(T0, { agent: "other" }), agent: "other" });
        const proof = await pruneProof();
        const { task, agent } = draftGrant();
        const { seq } = await port.head();
        for (const isRestarted of [false, true]) {
          if (isRestarted) port = await opened.reopen();
          for (const at of [T0, NOW]) {
            const plain = { at, proof, event: eventOf("a.written") };
            const named = { ...plain, policyDigest: POLICY, agent };
            expect(await port.append({ at, proof, events: [eventOf("a.written")] })).toEqual(behind);
            expect(await port.unfreeze({ ...plain, agent: "other" })).toEqual(behind);
            expect(await port.reopen({ ...plain, id: closed.id })).toEqual(behind);
            expect(await port.changeKeys({ at, proof, add: [], moves: [], events: [] })).toEqual(behind);
            expect(await issue(port, at, {}, { proof })).toEqual(behind);
            expect(await port.simulate({ ...named, limit: null, task })).toEqual(behind);
            expect(await renew(port, at, grant, proof)).toEqual(behind);
            expect(await port.release({ ...plain, id: grant.id, agent })).toEqual(behind);
          }
        }
        expect((await port.head()).seq).toBe(seq);
        expect((await port.snapshot(NOW)).frozen).toEqual(["other"]);
      });

      it("still cuts off and freezes with a proof that it has not seen, once, across restarts", async () => {
        await pruneProof();
        const [proof, another] = [proofAt(T0 + 1000), proofAt(T0 + 2000)];
        const cutOff = () => port.cutOff(cutOffCommand(T0 + 1000, { agent: "coder" }, proof));
        const freeze = () => port.freeze({ ...cutOffCommand(T0 + 2000, { agent: "coder" }, another), agent: "coder" });
        expect((await cutOff()).outcome).toBe("cut_off");
        expect((await freeze()).outcome).toBe("frozen");
        for (let i = 0; i < 3; i++) {
          expect(await cutOff()).toEqual({ outcome: "proof_replayed" });
          expect(await freeze()).toEqual({ outcome: "proof_replayed" });
          expect(await port.consume(proof, T0 + 1000)).toBe(false);
          port = await opened.reopen();
        }
        await port.append({ at: NOW + 9 * MINUTE, proof: null, events: [] });
        expect(await cutOff()).toEqual({ outcome: "proof_replayed" });
        port = await opened.reopen();
        expect(await cutOff()).toEqual({ outcome: "proof_replayed" });
      });

      it("still reads with a proof that it has not seen, once, across an orderly restart", async () => {
        await pruneProof();
        const proof = proofAt(T0 + 1000);
        const answers = await Promise.all(Array.from({ length: 20 }, () => port.consume(proof, T0 + 1000)));
        expect(answers.filter(Boolean)).toHaveLength(1);
        // Sweeps what is forgotten, by an instant that goes on.
        expect(await port.consume(proofAt(NOW + 9 * MINUTE), NOW + 9 * MINUTE)).toBe(true);
        expect(await port.consume(proof, T0 + 1000)).toBe(false);
        port = await opened.reopen();
        expect(await port.consume(proof, T0 + 1000)).toBe(false);
        expect((await port.cutOff(cutOffCommand(T0, { agent: "coder" }, proof))).outcome).toBe("proof_replayed");
      });

      it("knows the late proof of a read after a restart, when every other proof is forgotten", async () => {
        await pruneProof();
        const proof = proofAt(T0 + 1000);
        expect(await port.consume(proof, T0 + 1000)).toBe(true);
        await port.append({ at: NOW + 5 * MINUTE, proof: null, events: [eventOf("a.written")] });
        port = await opened.reopen();
        expect(await port.consume(proof, T0 + 1000)).toBe(false);
      });

      it("knows a proof that is late but not yet pruned, and one that this very call makes late", async () => {
        const proof = proofAt(T0);
        expect((await port.cutOff(cutOffCommand(T0, { agent: "a" }, proof))).outcome).toBe("cut_off");
        port = await opened.reopen();
        const late = proof.forgetAt + 31_000;
        expect(await port.cutOff(cutOffCommand(late, { agent: "a" }, proof))).toEqual({ outcome: "proof_replayed" });
        const fresh = proofAt(T0 + 1);
        for (const outcome of ["cut_off", "proof_replayed"])
          expect((await port.cutOff(cutOffCommand(NOW, { agent: "a" }, fresh))).outcome).toBe(outcome);
        port = await opened.reopen();
        expect((await port.cutOff(cutOffCommand(T0, { agent: "a" }, fresh))).outcome).toBe("proof_replayed");
      });

      it("accepts a new proof by the right clock for everything", async () => {
        await pruneProof();
        expect((await issue(port, NOW)).outcome).toBe("issued");
        expect((await port.append({ at: NOW, proof: proofAt(NOW), events: [] })).outcome).toBe("appended");
      });
    });
  });
}
