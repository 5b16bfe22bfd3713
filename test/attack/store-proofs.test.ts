// A flood of proofs: memory stays bounded, what is spent stays spent, and a revocation still gets through.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSeenProofs } from "../../src/store/sqlite/seen-proofs.ts";

const T0 = Date.UTC(2026, 3, 24);

function createSeen(limits: { maxProofs?: number; maxOfOne?: number } = {}) {
  return createSeenProofs({ inFileUntil: 0, instant: T0, ...limits });
}

describe("proofs that this process has seen", () => {
  it("refuses more reads than it can remember, admits writes, and then asks the file about them", () => {
    const seen = createSeen({ maxProofs: 3 });
    for (const key of ["a", "b", "c"])
      expect(seen.consumeForRead({ key, issuedAt: T0, forgetAt: T0 + 1000 }, T0)).toBe(true);
    const late = { key: "d", issuedAt: T0, forgetAt: T0 + 90_000 };
    expect(() => seen.consumeForRead(late, T0)).toThrow(expect.objectContaining({ code: "limit_reached" }));
    expect(seen.mayBeInFile(late)).toBe(false);
    expect(seen.admitToWrite(late, T0)).toBe(true);
    expect(seen.mayBeInFile(late)).toBe(true);
    expect(seen.consumeForRead({ key: "e", issuedAt: T0, forgetAt: T0 + 90_000 }, T0 + 60_000)).toBe(true);
  });

  it("gives each principal a share, and refuses reads beyond it to that principal alone", () => {
    const seen = createSeen({ maxOfOne: 2 });
    const proofOf = (name: string, n: number) => ({ key: `${name} ${n}`, issuedAt: T0, forgetAt: T0 + 1000 });
    for (let n = 0; n < 2; n++) expect(seen.consumeForRead(proofOf("greedy", n), T0)).toBe(true);
    const refused = expect.objectContaining({ code: "limit_reached" });
    expect(() => seen.consumeForRead(proofOf("greedy", 2), T0)).toThrow(refused);
    expect(seen.consumeForRead(proofOf("greedy-2", 2), T0)).toBe(true);
    expect(seen.consumeForRead(proofOf("greedy", 1), T0)).toBe(false);
    // A revocation is never kept out: the file decides, and reads then ask the file.
    expect(seen.admitToWrite(proofOf("greedy", 3), T0)).toBe(true);
    expect(seen.mayBeInFile(proofOf("greedy", 3))).toBe(true);
    expect(seen.consumeForRead({ key: "greedy 4", issuedAt: T0, forgetAt: T0 + 90_000 }, T0 + 60_000)).toBe(true);
    expect(seen.consumeForRead({ key: "greedy 5", issuedAt: T0, forgetAt: T0 + 90_000 }, T0 + 60_000)).toBe(true);
    expect(() => seen.consumeForRead({ key: "greedy 6", issuedAt: T0, forgetAt: T0 + 90_000 }, T0 + 60_000)).toThrow(
      refused,
    );
  });

  it("lets one principal keep 100,000 alive, however many others there are", () => {
    const seen = createSeen();
    for (let n = 0; n < 100_000; n++) seen.consumeForRead({ key: `greedy ${n}`, issuedAt: T0, forgetAt: T0 }, T0);
    const refused = expect.objectContaining({ code: "limit_reached" });
    expect(() => seen.consumeForRead({ key: "greedy more", issuedAt: T0, forgetAt: T0 }, T0)).toThrow(refused);
    expect(seen.consumeForRead({ key: "modest 1", issuedAt: T0, forgetAt: T0 }, T0)).toBe(true);
  });

  it("never lets a proof be spent twice while it can be accepted, whatever came between", () => {
    const use = fc.record({ key: fc.nat(8), isRead: fc.boolean(), isRefused: fc.boolean(), wait: fc.nat(20_000) });
    fc.assert(
      fc.property(fc.array(use, { maxLength: 200 }), (uses) => {
        const seen = createSeen();
        const spent = new Set<number>();
        let at = T0;
        for (const { key, isRead, isRefused, wait } of uses) {
          at += wait;
          const proof = { key: `agent ${key}`, issuedAt: T0, forgetAt: T0 + key * 100_000 };
          if (proof.forgetAt < at) continue;
          const isAdmitted = isRead ? seen.consumeForRead(proof, at) : seen.admitToWrite(proof, at);
          if (spent.has(key)) expect(isAdmitted).toBe(false);
          if (!isAdmitted) continue;
          if (!isRead && isRefused) seen.returnUnspent(proof);
          else spent.add(key);
        }
      }),
    );
  });

  it("never lets a read use the proof of a refused write", () => {
    const seen = createSeen();
    const proof = { key: "a", issuedAt: T0, forgetAt: T0 + 1000 };
    expect(seen.admitToWrite(proof, T0)).toBe(true);
    seen.returnUnspent(proof);
    expect(seen.consumeForRead(proof, T0)).toBe(false);
    expect(seen.admitToWrite(proof, T0)).toBe(true);
    expect(seen.admitToWrite(proof, T0)).toBe(false);
  });
});
