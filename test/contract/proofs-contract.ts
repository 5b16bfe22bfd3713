// The contract of proofs: one use, whatever it is used for and whenever, restarts included.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { ProofPort } from "../../src/identity/proof-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import { activate, cutOffCommand, eventOf, issue, type Opened, proofAt, T0 } from "./drafts.ts";

type Ports = ProofPort & RecordPort & GrantPort & RevocationPort;

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
  });
}
