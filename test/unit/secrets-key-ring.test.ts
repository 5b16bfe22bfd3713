// The broker's own signing keys through their states: made, published before they sign, overlapped, retired.

import { compactVerify, decodeProtectedHeader, importJWK } from "jose";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import type { KeyPurpose } from "../../src/secrets/key-port.ts";
import { createKeyRing } from "../../src/secrets/key-ring.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { createMemoryKeys } from "../support/memory-keys.ts";

const DAY_MS = 86_400_000;
const MAX_TTL_SECONDS = 3600;
const sealer = createSealer(new Secret(Buffer.alloc(32, 7)));
const PURPOSES: readonly KeyPurpose[] = ["credential", "record"];

async function makeRing(port = createMemoryKeys()) {
  const time = { now: 1_790_000_000_000 };
  const retired: { id: string; number: number }[] = [];
  const ring = await createKeyRing({
    port,
    sealer,
    at: () => time.now,
    policyDigest: () => "p",
    rotationSeconds: 30 * 86_400,
    maxTtlSeconds: MAX_TTL_SECONDS,
    onRetired: (keys) => void retired.push(...keys),
  });
  const inState = (purpose: KeyPurpose, state: string) =>
    ring
      .list()
      .filter((key) => key.purpose === purpose && key.state === state)
      .map(({ id }) => id);
  const only = (purpose: KeyPurpose, state: string): string => {
    const ids = inState(purpose, state);
    expect(ids, `${purpose} ${state}`).toHaveLength(1);
    return ids[0] ?? "";
  };
  const published = (purpose: KeyPurpose) => ring.publicKeys(purpose).keys.map(({ kid }) => kid);
  const signerOf = async (purpose: KeyPurpose) => decodeProtectedHeader(await ring.sign(purpose, "test+jwt", {})).kid;
  const rotate = (compromised = false) =>
    ring.rotate({
      person: "admin-1",
      proof: { key: `admin-1 ${crypto.randomUUID()}`, issuedAt: 0, forgetAt: 0 },
      compromised,
    });
  return { port, time, retired, ring, inState, only, published, signerOf, rotate };
}

describe("the first start", () => {
  it("makes an active key and a next one for each purpose, on record", async () => {
    const { port, only, retired } = await makeRing();
    for (const purpose of PURPOSES) expect(only(purpose, "active")).not.toBe(only(purpose, "next"));
    expect(port.commands).toHaveLength(1);
    const events = port.commands.flatMap(({ events }) => events).map(({ fields }) => fields.type);
    expect(events.toSorted()).toEqual([
      "key.created",
      "key.created",
      "key.created",
      "key.created",
      "key.promoted",
      "key.promoted",
    ]);
    expect(retired).toEqual([]);
  });

  it("is not repeated by the next one, and a missing key is made good", async () => {
    const { port, ring } = await makeRing();
    const again = await makeRing(port);
    expect(again.ring.list()).toEqual(ring.list());
    expect(port.commands).toHaveLength(1);
  });

  it("seals every private half: no row holds one in the clear", async () => {
    const { port } = await makeRing();
    for (const { sealed, publicJwk, id } of port.rows.values()) {
      const { d } = JSON.parse(Buffer.from(sealer.open("signing-key", id, sealed)).toString());
      expect(Buffer.from(sealed).includes(Buffer.from(String(d)))).toBe(false);
      expect(Buffer.from(sealed).includes(Buffer.from(String(d), "base64url"))).toBe(false);
      expect(publicJwk).not.toHaveProperty("d");
    }
  });
});

describe("a signature", () => {
  it("is by the active key of its purpose, with its type and kid, and verifies by what is published", async () => {
    const { ring, only } = await makeRing();
    for (const purpose of PURPOSES) {
      const jws = await ring.sign(purpose, "test+jwt", { a: 1 });
      const header = decodeProtectedHeader(jws);
      expect(header).toEqual({ alg: "ES256", typ: "test+jwt", kid: only(purpose, "active") });
      expect(ring.activeKey(purpose).kid).toBe(header.kid);
      await expect(compactVerify(jws, await importJWK(ring.activeKey(purpose), "ES256"))).resolves.toBeDefined();
      const other = purpose === "record" ? "credential" : "record";
      expect(ring.publicKeys(other).keys.map(({ kid }) => kid)).not.toContain(header.kid);
    }
  });

  it("shows public members alone in key sets and lists", async () => {
    const { ring } = await makeRing();
    for (const purpose of PURPOSES) {
      for (const key of ring.publicKeys(purpose).keys)
        expect(Object.keys(key).toSorted()).toEqual(["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }
    for (const key of ring.list()) expect(Object.keys(key).toSorted()).toEqual(["createdAt", "id", "purpose", "state"]);
  });
});

describe("rotation", () => {
  it("promotes the key that was published before, and publishes another", async () => {
    const { only, published, signerOf, rotate } = await makeRing();
    for (const purpose of PURPOSES) expect(published(purpose)).toContain(only(purpose, "next"));
    const before = PURPOSES.map((purpose) => [only(purpose, "active"), only(purpose, "next")]);
    await rotate();
    for (const [i, purpose] of PURPOSES.entries()) {
      const [active = "", next = ""] = before[i] ?? [];
      expect(only(purpose, "active")).toBe(next);
      expect(only(purpose, "retiring")).toBe(active);
      expect(await signerOf(purpose)).toBe(next);
      expect(published(purpose)).toContain(active);
      expect([active, next]).not.toContain(only(purpose, "next"));
    }
  });

  it("keeps what the old key signed verifiable until the longest life and 30 s are over, then retires it in the feed", async () => {
    const { ring, time, only, published, retired, rotate } = await makeRing();
    const jws = await ring.sign("credential", "at+jwt", {});
    const old = only("credential", "active");
    await rotate();
    time.now += MAX_TTL_SECONDS * 1000 + 30_000 - 1;
    await ring.tick();
    expect(published("credential")).toContain(old);
    expect(retired).toEqual([]);
    time.now += 1;
    await ring.tick();
    expect(published("credential")).not.toContain(old);
    expect(published("credential")).not.toContain(decodeProtectedHeader(jws).kid);
    expect(retired.map(({ id }) => id)).toContain(old);
    expect(retired.map(({ number }) => number)).toEqual([1, 2]);
    await ring.tick();
    expect(retired).toHaveLength(2);
  });

  it("of compromised keys retires all that signed or could be known, at once, and signs with one that nobody saw", async () => {
    const { ring, retired, signerOf, published, rotate, port } = await makeRing();
    await rotate();
    const before = ring.list().map(({ id }) => id);
    expect(before).toHaveLength(6);
    await rotate(true);
    expect(retired.map(({ id }) => id).toSorted()).toEqual(before.toSorted());
    for (const purpose of PURPOSES) {
      expect(before).not.toContain(await signerOf(purpose));
      for (const kid of published(purpose)) expect(before).not.toContain(kid);
      expect(published(purpose)).toHaveLength(2);
    }
    const events = port.commands.at(-1)?.events.map(({ fields }) => fields) ?? [];
    expect(
      events.filter(
        ({ type, person, compromised }) => type === "key.retired" && person === "admin-1" && compromised === true,
      ),
    ).toHaveLength(6);
  });

  it("happens on schedule, by the clock that is given, and at no other time", async () => {
    const { ring, time, only } = await makeRing();
    const first = only("credential", "active");
    time.now += 30 * DAY_MS - 1;
    await ring.tick();
    expect(only("credential", "active")).toBe(first);
    time.now += 1;
    await ring.tick();
    const second = only("credential", "active");
    expect(second).not.toBe(first);
    time.now += 30 * DAY_MS;
    await ring.tick();
    expect(only("credential", "active")).not.toBe(second);
    expect(ring.list().map(({ id }) => id)).not.toContain(first);
  });

  it("twice at once promotes two keys, one after the other, and never one key twice", async () => {
    const { rotate, ring, only, inState, port } = await makeRing();
    await Promise.all([rotate(), rotate(), ring.tick(), rotate()]);
    const promoted = port.commands
      .flatMap(({ events }) => events)
      .filter(({ fields }) => fields.type === "key.promoted");
    expect(promoted).toHaveLength(8);
    expect(new Set(promoted.map(({ fields }) => fields["key"])).size).toBe(8);
    for (const purpose of PURPOSES) {
      only(purpose, "active");
      only(purpose, "next");
      expect(inState(purpose, "retiring")).toHaveLength(3);
    }
  });

  it("by a replayed proof changes nothing, and the next one works", async () => {
    const { ring, rotate } = await makeRing();
    const by = { person: "admin-1", proof: { key: "admin-1 x", issuedAt: 0, forgetAt: 0 }, compromised: false };
    await ring.rotate(by);
    const before = ring.list();
    await expect(ring.rotate({ ...by, compromised: true })).rejects.toMatchObject({ code: "proof_replayed" });
    expect(ring.list()).toEqual(before);
    await rotate();
    expect(ring.list()).toHaveLength(before.length + 2);
  });

  it("of compromised keys is told to verifiers, and nothing signs with them, even when the store fails right after", async () => {
    const { ring, port, rotate, retired } = await makeRing();
    const before = ring.list().map(({ id }) => id);
    port.failNextRead();
    await expect(rotate(true)).rejects.toThrow("the store does not answer");
    expect(retired.map(({ id }) => id).toSorted()).toEqual(before.toSorted());
    expect(() => ring.sign("credential", "at+jwt", {})).toThrow("no signing key is active");
    expect(ring.publicKeys("credential").keys).toEqual([]);
  });
});
