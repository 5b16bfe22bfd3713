// Decoys through their life: made in the shape of the real thing, found wherever a key is tried, forgotten.

import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { CANARY_KINDS } from "../../src/api/secrets.ts";
import { newId, type RequestId } from "../../src/core/ids.ts";
import { findCandidates, makeDecoy } from "../../src/secrets/decoy-shapes.ts";
import { createMemorySecrets } from "../support/memory-secrets.ts";
import { openDecoys } from "../support/opened-decoys.ts";
import { NOW, personCall, policyOf } from "../support/root-secrets-fixture.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const fromBase62 = (text: string): number =>
  Array.from(text).reduce((sum, letter) => sum * 62 + BASE62.indexOf(letter), 0);
const uuid = (i: number): string => `00000000-0000-4000-8000-${i.toString(16).padStart(12, "0")}`;

describe("a decoy looks like", () => {
  it("Railway's: a random UUID", async () => {
    const { plant } = await openDecoys();
    expect((await plant("railway")).value).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  });

  it("GitHub's, with the checksum that scanners look for", async () => {
    const { plant } = await openDecoys();
    for (let i = 0; i < 50; i++) {
      const { value } = await plant("github");
      expect(value).toMatch(/^ghp_[\dA-Za-z]{36}$/);
      expect(fromBase62(value.slice(-6))).toBe(crc32(value.slice(4, -6)));
    }
  });

  it("GitHub's as GitHub itself made one, that is long revoked", () => {
    const [random, checksum] = ["zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"];
    expect(makeDecoy("github", () => random).key).toBe(`ghp_${random}${checksum}`);
    expect([...findCandidates("github", `ghp_${random}0mLq18`)]).toEqual([]);
  });

  it("Stripe's live key of today: 107 characters", async () => {
    const { plant } = await openDecoys();
    const { value } = await plant("stripe");
    expect(value).toMatch(/^sk_live_51[\dA-Za-z]+$/);
    expect(value).toHaveLength(107);
  });

  it("two lines of an AWS credentials file", async () => {
    const { plant } = await openDecoys();
    const { value } = await plant("aws");
    expect(value).toMatch(/^aws_access_key_id = AKIA[A-Z2-7]{16}\naws_secret_access_key = [\dA-Za-z+/]{40}$/);
  });

  it("no other decoy", async () => {
    const { plant } = await openDecoys();
    const all = await Promise.all(Array.from({ length: 100 }, () => plant("railway")));
    expect(new Set(all.map(({ value }) => value)).size).toBe(100);
  });
});

describe("a decoy is found", () => {
  it.each(CANARY_KINDS)(
    "like %s, as itself, in quotes, in text and in upper or lower case where that is all one",
    async (like) => {
      const { plant, findIn } = await openDecoys();
      const { canary, key } = await plant(like);
      for (const text of [key, `"${key}"`, `Bearer ${key}`, `x${key}y`, `${key.slice(0, 20)}${key}`, `${key},${key}`]) {
        expect(findIn(text), text).toEqual({ canary: canary.id, like, where: "body" });
      }
      expect(findIn(key.toUpperCase())?.canary ?? null).toBe(["railway", "aws"].includes(like) ? canary.id : null);
    },
  );

  it.each(CANARY_KINDS)("like %s, in a request's usual wrappings", async (like) => {
    const { plant, findIn } = await openDecoys();
    const { canary, key } = await plant(like);
    const basic = (user: string, password: string): string => Buffer.from(`${user}:${password}`).toString("base64");
    const escaped = (by: (code: string) => string): string =>
      Array.from(key, (letter) => by(letter.charCodeAt(0).toString(16).padStart(2, "0"))).join("");
    const texts = [
      `Basic ${basic("x-access-token", key)}`,
      `basic  ${basic(key, "")}`,
      `?token=${escaped((code) => `%${code}`)}`,
      `?token=100%${encodeURIComponent(` ${key}`)}`,
      `{"token":"${escaped((code) => `\\u00${code}`)}"}`,
      // A string of GraphQL inside one of JSON.
      `{"query":"{a(b:\\"${escaped((code) => `\\\\u00${code}`)}\\")}"}`,
      `AWS4-HMAC-SHA256 Credential=${key}/20261122/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00`,
    ];
    for (const text of texts) expect(findIn(text)?.canary, text).toBe(canary.id);
  });

  it("in the first text that has one, which is named by a word of ours alone", async () => {
    const { decoys, plant } = await openDecoys();
    const [one, two] = [await plant("github"), await plant("railway")];
    const found = decoys.find([
      ["accept", "*/*"],
      ["authorization", `Bearer ${two.key}`],
      ["query", one.key],
    ]);
    expect(found).toEqual({ canary: two.canary.id, like: "railway", where: "authorization" });
    // A header that is called like a key does not enter the record.
    expect(decoys.find([[one.key, two.key]])?.where).toBe("another header");
  });

  it("behind many keys of other kinds, and many times the same one", async () => {
    const { plant, findIn } = await openDecoys();
    const [uuids] = [await plant("railway")];
    const { canary, key } = await plant("github");
    const crowd = Array.from({ length: 5000 }, (_, i) => uuid(i)).join(" ");
    expect(findIn(`${crowd} ${key}`)?.canary).toBe(canary.id);
    expect(findIn(`${uuid(1).repeat(5000)} ${uuids.key}`)?.canary).toBe(uuids.canary.id);
  });

  it("never where there is none: other keys, other master keys, halves", async () => {
    const { plant, findIn, port } = await openDecoys();
    expect(findIn(uuid(1))).toBeNull();
    const { key } = await plant("railway");
    for (const text of ["", uuid(1), key.slice(1), key.slice(0, -1), key.replaceAll("-", ""), key.replace("-", "‑")]) {
      expect(findIn(text), text).toBeNull();
    }
    const other = await openDecoys({ port, masterKey: 8 });
    expect(other.findIn(key)).toBeNull();
  });
});

describe("a search is bounded", () => {
  it("to the first 500 candidates of a kind", async () => {
    const { plant, findIn } = await openDecoys();
    const { canary, key } = await plant("railway");
    const others = (count: number): string => Array.from({ length: count }, (_, i) => uuid(i)).join(" ");
    expect(findIn(`${others(499)} ${key}`)?.canary).toBe(canary.id);
    expect(findIn(`${others(500)} ${key}`)).toBeNull();
  });

  it("to the first MiB of all texts together", async () => {
    const { decoys, plant } = await openDecoys();
    const { canary, key } = await plant("github");
    const room = 1_048_576 - key.length;
    const find = (spaces: number) =>
      decoys.find([
        ["path", " ".repeat(1000)],
        ["body", " ".repeat(spaces - 1000) + key],
      ]);
    expect(find(room)?.canary).toBe(canary.id);
    expect(find(room + 1)).toBeNull();
  });

  it("to nothing at all while there is no decoy", async () => {
    const { decoys } = await openDecoys();
    const texts = {
      [Symbol.iterator]: () => {
        throw new Error("was looked at");
      },
    };
    expect(decoys.find(texts)).toBeNull();
  });
});

describe("decoys", () => {
  it("are listed oldest first, with notes and without values, also after a restart", async () => {
    const { decoys, plant, port } = await openDecoys();
    const one = await plant("github", "shop/.env");
    const two = await plant("aws");
    const at = new Date(NOW).toISOString();
    const list = [
      { id: one.canary.id, like: "github", note: "shop/.env", createdAt: at, createdBy: "admin-1" },
      { id: two.canary.id, like: "aws", note: null, createdAt: at, createdBy: "admin-1" },
    ];
    expect(decoys.list()).toEqual(list);
    const again = await openDecoys({ port });
    expect(again.decoys.list()).toEqual(list);
    expect(again.findIn(two.key)?.canary).toBe(two.canary.id);
  });

  it("are made and forgotten together with their event, by one proof", async () => {
    const commands: unknown[] = [];
    const port = createMemorySecrets();
    const { decoys, forget } = await openDecoys({
      port: {
        ...port,
        addCanary: (command) => (commands.push(command), port.addCanary(command)),
        deleteCanary: (command) => (commands.push(command), port.deleteCanary(command)),
      },
    });
    const [add, remove] = [personCall(), personCall()];
    const { canary } = await decoys.add(add, "stripe", "wiki");
    await forget(canary.id, remove);
    const facts = (request: RequestId) => ({ person: "admin-1", request, policy: policyOf().digest });
    expect(commands).toMatchObject([
      {
        proof: add.proof,
        event: {
          fields: { type: "canary.created", canary: canary.id, like: "stripe", note: "wiki", ...facts(add.request) },
        },
      },
      {
        proof: remove.proof,
        event: { fields: { type: "canary.deleted", canary: canary.id, ...facts(remove.request) } },
      },
    ]);
    expect(decoys.list()).toEqual([]);
  });

  it("that were forgotten alert nobody, and the others still do", async () => {
    const { plant, forget, findIn } = await openDecoys();
    const [one, two] = [await plant("github"), await plant("github")];
    await forget(one.canary.id);
    expect(findIn(one.key)).toBeNull();
    expect(findIn(two.key)?.canary).toBe(two.canary.id);
    await expect(forget(one.canary.id)).rejects.toMatchObject({ code: "not_found" });
  });

  it("are neither made nor forgotten by a proof that was used before", async () => {
    const { decoys, forget, findIn } = await openDecoys();
    const call = personCall();
    const { canary, value } = await decoys.add(call, "github", null);
    await expect(decoys.add(call, "github", null)).rejects.toMatchObject({ code: "proof_replayed" });
    await expect(forget(canary.id, call)).rejects.toMatchObject({ code: "proof_replayed" });
    expect(decoys.list()).toHaveLength(1);
    expect(findIn(value)).not.toBeNull();
  });

  it("are what the store has, also when it did a change and could not say so", async () => {
    const stored = createMemorySecrets();
    let loses = true;
    const { decoys } = await openDecoys({
      port: {
        ...stored,
        addCanary: async (command) => {
          const done = await stored.addCanary(command);
          if (loses) throw new Error("the store does not answer");
          return done;
        },
      },
    });
    await expect(decoys.add(personCall(), "github", null)).rejects.toThrow("does not answer");
    expect(decoys.list()).toHaveLength(1);
    loses = false;
    await decoys.add(personCall(), "github", null);
    expect(decoys.list()).toHaveLength(2);
  });

  it("are at most 1000", async () => {
    const stored = createMemorySecrets();
    const row = { like: "github", note: null, createdAt: NOW, createdBy: "admin-1" };
    const rows = Array.from({ length: 1000 }, (_, i) => ({
      id: newId("can", NOW),
      hash: Buffer.of(i >> 8, i),
      ...row,
    }));
    const { decoys, forget } = await openDecoys({ port: { ...stored, canaries: async () => rows } });
    await expect(decoys.add(personCall(), "github", null)).rejects.toMatchObject({ code: "conflict" });
    // The port in memory has none of these rows, and says so.
    await expect(forget(rows[0]?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
    await decoys.add(personCall(), "github", null);
    expect(decoys.list()).toHaveLength(1000);
  });

  it("of a kind that is not known keep the broker from starting: it would not see them", async () => {
    const stored = createMemorySecrets();
    const row = {
      id: newId("can", NOW),
      like: "later",
      note: null,
      hash: Buffer.of(1),
      createdAt: NOW,
      createdBy: "a",
    };
    await expect(openDecoys({ port: { ...stored, canaries: async () => [row] } })).rejects.toThrow("does not know");
  });
});
