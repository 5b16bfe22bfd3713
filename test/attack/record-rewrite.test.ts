// Who can write the store's file tries to make the record say something else: cut tails, full rewrites, forged heads,
// and lines that are read in two ways.

import { describe, expect, it } from "vitest";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { EMPTY_HASH, MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import { faultsOf, makeHeadSigner, makeRecord } from "../support/made-record.ts";

const signer = await makeHeadSigner();
const { lines, head } = makeRecord(10);

describe("a cut tail and a full rewrite (rule 37)", () => {
  it("are not seen by the chain alone, and are by a head kept elsewhere", async () => {
    const kept = await signer.sign(head);
    expect(await faultsOf(lines.slice(0, 6))).toEqual([]);
    expect(await faultsOf(lines.slice(0, 6), kept)).toEqual([null]);
    expect(await faultsOf([], kept)).toEqual([null]);
    const rewritten = makeRecord(10, "rewritten");
    expect(await faultsOf(rewritten.lines)).toEqual([]);
    expect(await faultsOf(rewritten.lines, kept)).toEqual([10]);
  });

  it("cannot be covered by growing the record again", async () => {
    const kept = await signer.sign(head);
    const before = makeRecord(4);
    const regrown = [...before.lines, ...makeRecord(20, "forged", before.head).lines];
    expect(await faultsOf(regrown)).toEqual([]);
    expect(await faultsOf(regrown, kept)).toEqual([10]);
  });

  it("are found by an old head as far as it reaches, and honest growth after it is not blamed", async () => {
    const grown = makeRecord(5, "later", head);
    expect(await faultsOf([...lines, ...grown.lines], await signer.sign(head), await signer.sign(grown.head))).toEqual(
      [],
    );
    const forgedTail = makeRecord(5, "forged", head);
    expect(await faultsOf([...lines, ...forgedTail.lines], await signer.sign(head))).toEqual([]);
    expect(
      await faultsOf([...lines, ...forgedTail.lines], await signer.sign(head), await signer.sign(grown.head)),
    ).toEqual([15]);
  });

  it("are not hidden by a position that claims to be the signed one", async () => {
    const kept = await signer.sign(head);
    const jump = (lines[5] ?? "").replace('"seq":6', '"seq":10');
    expect((await faultsOf([...lines.slice(0, 5), jump], kept)).length).toBeGreaterThan(0);
    expect((await faultsOf(lines.slice(4), kept))[0]).toBe(1);
  });
});

describe("a signed head", () => {
  it("by another key than the one that was kept is refused", async () => {
    const other = await makeHeadSigner();
    const forged = { checkpoint: (await other.sign(head)).checkpoint, key: signer.publicJwk };
    expect(await faultsOf(lines, forged)).toEqual([null]);
  });

  it("whose claims were changed is refused, and proves nothing", async () => {
    const { checkpoint, key } = await signer.sign(head);
    const [header, , signature] = checkpoint.split(".");
    const payload = Buffer.from(JSON.stringify({ iss: "x", seq: 3, hash: "0", at: 0 })).toString("base64url");
    expect(await faultsOf(lines, { checkpoint: `${header}.${payload}.${signature}`, key })).toEqual([null]);
  });

  it("of another type that the same key signed, such as the feed's, is refused", async () => {
    expect(await faultsOf(lines, await signer.sign(head, "valetkey-feed+jwt"))).toEqual([null]);
    expect(await faultsOf(lines, await signer.sign(head, "at+jwt"))).toEqual([null]);
  });

  it("unsigned, by HMAC with the public key, or no JWS at all is refused", async () => {
    const { key } = await signer.sign(head);
    const claims = Buffer.from(JSON.stringify({ iss: "x", seq: head.seq, hash: head.hash, at: 0 })).toString(
      "base64url",
    );
    for (const alg of ["none", "HS256"]) {
      const header = Buffer.from(JSON.stringify({ alg, typ: "valetkey-checkpoint+jwt" })).toString("base64url");
      expect(await faultsOf(lines, { checkpoint: `${header}.${claims}.`, key }), alg).toEqual([null]);
    }
    for (const checkpoint of ["", "..", "a.b.c", "{}"])
      expect(await faultsOf(lines, { checkpoint, key })).toEqual([null]);
    expect(
      await faultsOf(lines, { checkpoint: (await signer.sign(head)).checkpoint, key: { kty: "oct", k: "c2VjcmV0" } }),
    ).toEqual([null]);
  });

  it("of an empty record says nothing, and an empty record is sound", async () => {
    const empty = { seq: 0, hash: EMPTY_HASH };
    expect(await verifyRecord([], { checkpoints: [await signer.sign(empty)] })).toEqual({
      entries: 0,
      head: empty,
      problems: [],
    });
    expect(await faultsOf(lines, await signer.sign(empty))).toEqual([]);
  });
});

describe("a line", () => {
  const changes: [string, (line: string) => string][] = [
    ["with a space", (line) => line.replace(":", ": ")],
    ["with CRLF at its end", (line) => `${line}\r`],
    ["with a line break at its end", (line) => `${line}\n`],
    ["with a byte order mark", (line) => `\uFEFF${line}`],
    ["with a key twice", (line) => line.replace("{", '{"type":"grant.issued",')],
    [
      "with its keys in another order",
      (line) => {
        const entry: Record<string, unknown> = JSON.parse(line);
        return JSON.stringify(Object.fromEntries(Object.entries(entry).toReversed()));
      },
    ],
    ["with an escaped character", (line) => line.replace("broker", "\\u0062roker")],
    ["with another spelling of a number", (line) => line.replace('"seq":5', '"seq":5.0')],
    ["with half a surrogate pair", (line) => line.replace("broker", "\\ud800roker")],
    ["that is empty", () => ""],
    ["that is null", () => "null"],
    ["that is a list", () => "[]"],
    ["without a position", () => "{}"],
    ["with a position that is text", (line) => line.replace('"seq":5', '"seq":"5"')],
    ["with a negative position", (line) => line.replace('"seq":5', '"seq":-5')],
    ["with a position beyond 2^53", (line) => line.replace('"seq":5', '"seq":90071992547409930')],
  ];
  it.each(changes)("%s is found where it stands", async (_what, change) => {
    const changed = lines.map((line, i) => (i === 4 ? change(line) : line));
    expect(changed[4]).not.toBe(lines[4]);
    const faults = await faultsOf(changed);
    expect(new Set(faults)).toEqual(new Set([5]));
  });

  it("that is larger than an entry may be is found, not parsed", async () => {
    const huge = `{"pad":"${"x".repeat(20 * MAX_LEAF_BYTES)}"}`;
    const { problems } = await verifyRecord([...lines.slice(0, 4), huge], { checkpoints: [] });
    expect(problems).toEqual([{ seq: 5, message: "entry 5 is larger than an entry may be: it was changed" }]);
  });

  it("at the very end, where no link covers it, is found when it is not canonical", async () => {
    const last = lines.at(-1) ?? "";
    for (const other of [`${last}\r`, last.replace(":", ": "), last.replace("{", '{"type":"grant.issued",')]) {
      expect(await faultsOf([...lines.slice(0, -1), other])).toEqual([10]);
    }
  });

  it("after the end, such as an empty one, is found", async () => {
    expect(await faultsOf([...lines, ""])).toEqual([11]);
  });

  it("starts a record only with the empty hash before it", async () => {
    const forged = makeRecord(3, "", { seq: 0, hash: "f".repeat(64) });
    expect(await faultsOf(forged.lines)).toEqual([1]);
  });
});

describe("a record that is all wrong", () => {
  it("is reported by its first hundred problems, and read to its end", async () => {
    const verdict = await verifyRecord(
      Array.from({ length: 5000 }, () => "x"),
      { checkpoints: [] },
    );
    expect(verdict.entries).toBe(5000);
    expect(verdict.problems).toHaveLength(100);
    expect(verdict.problems[0]?.seq).toBe(1);
  });
});

describe("an export", () => {
  it("with entries added after its own signed head is not sound", async () => {
    const end = await signer.sign(head);
    const grown = makeRecord(2, "forged", head);
    const { problems } = await verifyRecord([...lines, ...grown.lines], { checkpoints: [], end });
    expect(problems).toMatchObject([{ seq: 11, message: expect.stringContaining("added") }]);
    expect((await verifyRecord(lines, { checkpoints: [end], end })).problems).toEqual([]);
  });
});
