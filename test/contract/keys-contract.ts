// The contract of sealed signing keys and of the master key's check value.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { newId } from "../../src/core/ids.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import type { KeyPort, KeyState, StoredKey } from "../../src/secrets/key-port.ts";
import { cut, eventOf, type Opened, proofAt, T0 } from "./drafts.ts";

type Ports = KeyPort & RecordPort & RevocationPort;

export function describeKeyPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`keys in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
    });
    afterEach(() => opened.close());

    function newKey(state: KeyState): Omit<StoredKey, "createdAt" | "stateAt"> {
      const publicJwk = { kty: "EC", crv: "P-256", x: "x", y: "y" };
      return {
        id: newId("key", T0),
        purpose: "credential",
        state,
        publicJwk,
        sealed: new Uint8Array([0, 255, 1, 254]),
      };
    }

    function change(
      at: number,
      add: Omit<StoredKey, "createdAt" | "stateAt">[],
      moves: { id: StoredKey["id"]; state: KeyState }[],
    ) {
      const events = [...add, ...moves].map(() => eventOf("key.created"));
      return port.changeKeys({ at, proof: null, add, moves, events });
    }

    it("has none at first, and keeps added ones byte for byte across a restart", async () => {
      expect(await port.keys()).toEqual([]);
      const key = newKey("active");
      expect(await change(T0, [key], [])).toEqual({ outcome: "changed", instant: T0, retired: [] });
      port = await opened.reopen();
      expect(await port.keys()).toEqual([{ ...key, createdAt: T0, stateAt: T0 }]);
    });

    it("moves and adds in one transaction, with all events", async () => {
      const [active, next, later] = [newKey("active"), newKey("next"), newKey("next")];
      await change(T0, [active, next], []);
      const moves = [
        { id: active.id, state: "retiring" as const },
        { id: next.id, state: "active" as const },
      ];
      await change(T0 + 9, [later], moves);
      const states = new Map((await port.keys()).map((key) => [key.id, [key.state, key.createdAt, key.stateAt]]));
      expect(states.get(active.id)).toEqual(["retiring", T0, T0 + 9]);
      expect(states.get(next.id)).toEqual(["active", T0, T0 + 9]);
      expect(states.get(later.id)).toEqual(["next", T0 + 9, T0 + 9]);
      expect((await port.head()).seq).toBe(5);
    });

    it("numbers retired keys in one feed with cut-offs, and publishes them", async () => {
      const [a, b] = [newKey("retiring"), newKey("retiring")];
      await change(T0, [a, b], []);
      expect((await cut(port, T0, { agent: "coder" })).number).toBe(1);
      const answer = await change(
        T0,
        [],
        [
          { id: b.id, state: "retired" },
          { id: a.id, state: "retired" },
        ],
      );
      expect(answer).toMatchObject({
        retired: [
          { id: b.id, number: 2 },
          { id: a.id, number: 3 },
        ],
      });
      expect(await port.snapshot(T0)).toMatchObject({ number: 3, retiredKeys: [b.id, a.id] });
      expect(await port.keys()).toEqual([]);
    });

    it("never takes a key out of retirement, and writes nothing when it refuses", async () => {
      const [old, next] = [newKey("retiring"), newKey("next")];
      await change(T0, [old, next], []);
      await change(T0, [], [{ id: old.id, state: "retired" }]);
      const before = await port.head();
      const moves = [
        { id: next.id, state: "active" as const },
        { id: old.id, state: "active" as const },
      ];
      await expect(change(T0, [], moves)).rejects.toMatchObject({ code: "conflict" });
      await expect(change(T0, [old], [])).rejects.toMatchObject({ code: "conflict" });
      await expect(change(T0, [], [{ id: newId("key", T0), state: "active" }])).rejects.toMatchObject({
        code: "conflict",
      });
      expect(await port.head()).toEqual(before);
      expect((await port.keys()).map((key) => key.state)).toEqual(["next"]);
    });

    it("has one key that signs and one that is next, whoever of two planned first", async () => {
      const [active, next] = [newKey("active"), newKey("next")];
      const other = { ...newKey("active"), purpose: "record" as const };
      await change(T0, [active, next, other], []);
      const before = await port.head();
      const rotate = () =>
        change(
          T0 + 1,
          [newKey("next")],
          [
            { id: next.id, state: "active" },
            { id: active.id, state: "retiring" },
          ],
        );
      await expect(change(T0 + 1, [newKey("active")], [])).rejects.toMatchObject({ code: "conflict" });
      await expect(change(T0 + 1, [newKey("next")], [])).rejects.toMatchObject({ code: "conflict" });
      await expect(change(T0 + 1, [], [{ id: next.id, state: "active" }])).rejects.toMatchObject({ code: "conflict" });
      expect(await port.head()).toEqual(before);
      const done = await Promise.allSettled([rotate(), rotate()]);
      expect(done.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      expect((await port.keys()).map(({ purpose, state }) => `${purpose} ${state}`).toSorted()).toEqual([
        "credential active",
        "credential next",
        "credential retiring",
        "record active",
      ]);
    });

    it("changes keys once for one proof", async () => {
      const proof = proofAt(T0);
      const command = () => ({ at: T0, proof, add: [newKey("next")], moves: [], events: [eventOf("key.created")] });
      const answers = await Promise.all([port.changeKeys(command()), port.changeKeys(command())]);
      expect(answers.map((answer) => answer.outcome).toSorted()).toEqual(["changed", "proof_replayed"]);
      expect(await port.keys()).toHaveLength(1);
    });

    it("keeps the master key's check value, written once", async () => {
      expect(await port.masterKeyCheck()).toBeNull();
      await port.writeMasterKeyCheck(new Uint8Array([7, 0, 255]));
      await expect(port.writeMasterKeyCheck(new Uint8Array([1]))).rejects.toMatchObject({ code: "conflict" });
      port = await opened.reopen();
      expect(await port.masterKeyCheck()).toEqual(new Uint8Array([7, 0, 255]));
    });
  });
}
