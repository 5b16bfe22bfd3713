// The contract of root credentials and decoys: sealed bytes kept exactly, versions that only rise, one proof a change.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { newId } from "../../src/core/ids.ts";
import { MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import type { SecretPort, StoredCanary, StoredSecret } from "../../src/secrets/secret-port.ts";
import { eventOf, MINUTE, type Opened, proofAt, T0 } from "./drafts.ts";

type Ports = SecretPort & RecordPort;
type NewSecret = Omit<StoredSecret, "createdAt">;

const NAME = "railway-root";

function secretOf(changes: Partial<NewSecret> = {}): NewSecret {
  return {
    name: NAME,
    version: 1,
    origins: ["https://api.example.com", "https://api.example.org"],
    sealedKey: new Uint8Array([0, 255, 1, 254]),
    sealedValue: new Uint8Array(20_000).map((_, i) => i % 251),
    createdBy: "admin-1",
    ...changes,
  };
}

export function describeSecretPort(name: string, open: () => Promise<Opened<Ports>>): void {
  describe(`secrets in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<Ports>;
    let port: Ports;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
    });
    afterEach(() => opened.close());

    function put(
      at: number,
      changes: Partial<NewSecret> = {},
      proof = proofAt(at),
    ): ReturnType<SecretPort["putSecret"]> {
      return port.putSecret({ at, proof, secret: secretOf(changes), event: eventOf("secret.sealed") });
    }
    function remove(at: number, proof = proofAt(at), secret = NAME): ReturnType<SecretPort["deleteSecret"]> {
      return port.deleteSecret({ at, proof, name: secret, event: eventOf("secret.deleted") });
    }
    function canaryOf(changes: Partial<StoredCanary> = {}): Omit<StoredCanary, "createdAt"> {
      const hash = new Uint8Array([9, 0, 255]);
      return { id: newId("can", T0), like: "railway", note: null, hash, createdBy: "security-1", ...changes };
    }
    function add(at: number, canary = canaryOf(), proof = proofAt(at)): ReturnType<SecretPort["addCanary"]> {
      return port.addCanary({ at, proof, canary, event: eventOf("canary.created") });
    }
    function drop(at: number, id: StoredCanary["id"], proof = proofAt(at)): ReturnType<SecretPort["deleteCanary"]> {
      return port.deleteCanary({ at, proof, id, event: eventOf("canary.deleted") });
    }
    async function types(): Promise<string[]> {
      return (await port.read(0, 1000)).map((text) => (JSON.parse(text) as { type: string }).type);
    }

    it("has no secrets at first, and keeps them byte for byte across a restart, by name", async () => {
      expect(await port.secrets()).toEqual([]);
      expect(await port.lastSecretVersion(NAME)).toBe(0);
      expect(await put(T0)).toEqual({ outcome: "put", instant: T0 });
      expect(await put(T0 + 1, { name: "github-root", sealedValue: new Uint8Array([3]) })).toMatchObject({
        outcome: "put",
      });
      port = await opened.reopen();
      expect(await port.secrets()).toEqual([
        { ...secretOf({ name: "github-root", sealedValue: new Uint8Array([3]) }), createdAt: T0 + 1 },
        { ...secretOf(), createdAt: T0 },
      ]);
      expect(await port.lastSecretVersion(NAME)).toBe(1);
      expect(await types()).toEqual(["secret.sealed", "secret.sealed"]);
    });

    it("puts the next version in place of the last, and refuses any other without writing anything", async () => {
      await put(T0);
      const proof = proofAt(T0);
      for (const version of [0, 1, 3]) expect(await put(T0, { version }, proof)).toEqual({ outcome: "conflict" });
      expect(await types()).toHaveLength(1);
      const next = { version: 2, origins: ["https://api.example.net"], createdBy: "admin-2" };
      expect(await put(T0 + 9, next, proof)).toEqual({ outcome: "put", instant: T0 + 9 });
      expect(await port.secrets()).toEqual([{ ...secretOf(next), createdAt: T0 + 9 }]);
      expect(await port.lastSecretVersion(NAME)).toBe(2);
    });

    it("lets exactly one of 20 concurrent puts of a version win", async () => {
      const people = Array.from({ length: 20 }, (_, i) => `admin-${i}`);
      const answers = await Promise.all(people.map((createdBy) => put(T0, { createdBy })));
      expect(answers.filter(({ outcome }) => outcome === "put")).toHaveLength(1);
      expect(answers.filter(({ outcome }) => outcome === "conflict")).toHaveLength(19);
      const winner = people[answers.findIndex(({ outcome }) => outcome === "put")];
      expect((await port.secrets()).map(({ createdBy }) => createdBy)).toEqual([winner]);
      expect(await types()).toHaveLength(1);
    });

    it("removes a secret and never gives one of its versions again, after a restart neither", async () => {
      await put(T0);
      await put(T0, { version: 2 });
      await put(T0, { name: "github-root" });
      expect(await remove(T0 + 1)).toEqual({ outcome: "deleted", instant: T0 + 1 });
      expect((await port.secrets()).map((secret) => secret.name)).toEqual(["github-root"]);
      port = await opened.reopen();
      expect(await port.lastSecretVersion(NAME)).toBe(2);
      expect(await put(T0 + 2)).toEqual({ outcome: "conflict" });
      expect((await put(T0 + 2, { version: 3 })).outcome).toBe("put");
      expect(await port.lastSecretVersion(NAME)).toBe(3);
      expect((await types()).filter((type) => type === "secret.deleted")).toHaveLength(1);
    });

    it("consumes the proof of a deletion that finds nothing, without an event", async () => {
      const secretProof = proofAt(T0);
      const canaryProof = proofAt(T0);
      expect(await remove(T0, secretProof)).toEqual({ outcome: "not_found", instant: T0 });
      expect(await drop(T0, newId("can", T0), canaryProof)).toEqual({ outcome: "not_found", instant: T0 });
      expect(await types()).toEqual([]);
      for (const isRestarted of [false, true]) {
        if (isRestarted) port = await opened.reopen();
        expect((await put(T0, {}, secretProof)).outcome).toBe("proof_replayed");
        expect((await add(T0, canaryOf(), canaryProof)).outcome).toBe("proof_replayed");
      }
    });

    it("deletes a secret once of 20 concurrent deletions", async () => {
      await put(T0);
      const answers = await Promise.all(Array.from({ length: 20 }, () => remove(T0)));
      expect(answers.filter(({ outcome }) => outcome === "deleted")).toHaveLength(1);
      expect(answers.filter(({ outcome }) => outcome === "not_found")).toHaveLength(19);
      expect(await types()).toEqual(["secret.sealed", "secret.deleted"]);
    });

    it("keeps decoys, oldest first, across a restart, and deletes each once", async () => {
      const later = canaryOf({ like: "stripe", note: "in the wiki", hash: new Uint8Array(32).fill(7) });
      const earlier = canaryOf();
      expect(await port.canaries()).toEqual([]);
      expect(await add(T0, earlier)).toEqual({ outcome: "added", instant: T0 });
      await add(T0 + 1, later);
      port = await opened.reopen();
      const kept = { ...later, createdAt: T0 + 1 };
      expect(await port.canaries()).toEqual([{ ...earlier, createdAt: T0 }, kept]);
      expect(await drop(T0 + 2, earlier.id)).toEqual({ outcome: "deleted", instant: T0 + 2 });
      expect(await drop(T0 + 3, earlier.id)).toEqual({ outcome: "not_found", instant: T0 + 3 });
      expect(await port.canaries()).toEqual([kept]);
      expect(await types()).toEqual(["canary.created", "canary.created", "canary.deleted"]);
    });

    it("changes one thing for one proof, whatever it is used for", async () => {
      const canary = canaryOf();
      await add(T0, canary);
      await put(T0);
      const before = await types();
      const proof = proofAt(T0);
      const acts = [
        put(T0, { version: 2 }, proof),
        remove(T0, proof),
        add(T0, canaryOf(), proof),
        drop(T0, canary.id, proof),
      ];
      const outcomes = (await Promise.all(acts)).map(({ outcome }) => outcome);
      expect(outcomes).toEqual(["put", ...Array<string>(3).fill("proof_replayed")]);
      expect(await types()).toHaveLength(before.length + 1);
    });

    it("changes nothing for a proof that may have been used and forgotten", async () => {
      const canary = canaryOf();
      await add(T0, canary);
      await put(T0);
      const now = T0 + 10 * MINUTE;
      await port.append({ at: now, proof: null, events: [eventOf("a.written")] });
      const { seq } = await port.head();
      const behind = { outcome: "clock_behind", instant: now };
      expect(await put(T0, { version: 2 })).toEqual(behind);
      expect(await remove(T0)).toEqual(behind);
      expect(await add(T0)).toEqual(behind);
      expect(await drop(T0, canary.id)).toEqual(behind);
      expect((await port.head()).seq).toBe(seq);
      expect([await port.secrets(), await port.canaries()].map((each) => each.length)).toEqual([1, 1]);
    });

    it("puts and deletes nothing whose event cannot be recorded", async () => {
      await put(T0);
      const event = eventOf("secret.sealed", { reason: "x".repeat(MAX_LEAF_BYTES) });
      const secret = secretOf({ version: 2 });
      const unwritable = { code: "audit_unavailable" };
      await expect(port.putSecret({ at: T0, proof: proofAt(T0), secret, event })).rejects.toMatchObject(unwritable);
      await expect(port.deleteSecret({ at: T0, proof: proofAt(T0), name: NAME, event })).rejects.toMatchObject(
        unwritable,
      );
      const canary = canaryOf();
      await expect(port.addCanary({ at: T0, proof: proofAt(T0), canary, event })).rejects.toMatchObject(unwritable);
      expect(await port.secrets()).toEqual([{ ...secretOf(), createdAt: T0 }]);
      expect([await port.lastSecretVersion(NAME), await port.canaries()]).toEqual([1, []]);
    });
  });
}
