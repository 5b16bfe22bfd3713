// The form of a statement on a backup and of its envelope, and that what the SDK signs is what the broker reads.

import { describe, expect, it } from "vitest";
import { makeKeyPair, publicMembers } from "../../src/cli/key-pair.ts";
import { BrokerError } from "../../src/core/errors.ts";
import { parseStatement, statementDigest, verifyEnvelope } from "../../src/holds/statement.ts";
import { signStatement } from "../../src/sdk/sign-statement.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { makeAgent } from "../support/scope-set-fixture.ts";

const SHA = "ab".repeat(32);
const SUBJECT = { name: "shop:volume/vol_1", digest: { sha256: SHA } };
const PREDICATE = { location: { account: "shop-backups", volume: "b-77" }, takenAt: "2026-11-22T03:00:00Z" };
const STATEMENT = {
  _type: "https://in-toto.io/Statement/v1",
  subject: [SUBJECT],
  predicateType: "urn:valetkey:backup:v1",
  predicate: PREDICATE,
};

const parse = (value: unknown) => parseStatement(Buffer.from(JSON.stringify(value)));
const withPredicate = (changes: object) => ({ ...STATEMENT, predicate: { ...PREDICATE, ...changes } });
const withSubject = (...subject: unknown[]) => ({ ...STATEMENT, subject });
const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, "x"]));
const subjects = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ ...SUBJECT, name: `shop:volume/v${i}` }));

function faultOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof BrokerError && thrown.code === "attestation_invalid") return thrown.detail;
    throw thrown;
  }
  return "nothing";
}

describe("a statement on a backup", () => {
  it("is read for what it says", () => {
    expect(parse(STATEMENT)).toEqual({
      subjects: [{ resource: SUBJECT.name, sha256: SHA }],
      location: PREDICATE.location,
      takenAt: Date.parse("2026-11-22T03:00:00.000Z"),
      restoreTestedAt: null,
      sizeBytes: null,
    });
    const whole = withPredicate({ sizeBytes: 0, restoreTestedAt: "2026-11-22T04:00:00.123456789Z" });
    expect(parse(whole)).toMatchObject({ sizeBytes: 0, restoreTestedAt: Date.parse("2026-11-22T04:00:00.123Z") });
  });

  it("may have its members in any order, up to 32 subjects and up to 16 fields", () => {
    const { predicate, predicateType, subject, _type } = STATEMENT;
    expect(parse({ predicate, subject, predicateType, _type })).toEqual(parse(STATEMENT));
    expect(parse(withSubject(...subjects(32))).subjects).toHaveLength(32);
    expect(Object.keys(parse(withPredicate({ location: fields(16) })).location)).toHaveLength(16);
  });

  it.each<[string, unknown, RegExp]>([
    ["another type", { ...STATEMENT, _type: "https://in-toto.io/Statement/v0.1" }, /_type/],
    ["another predicate", { ...STATEMENT, predicateType: "https://slsa.dev/provenance/v1" }, /predicateType/],
    ["a member that is unknown", { ...STATEMENT, note: "x" }, /nothing else/],
    ["a member that is missing", { ...STATEMENT, predicate: undefined }, /nothing else/],
    ["an unknown member of the predicate", withPredicate({ note: "x" }), /nothing else/],
    ["no object", [STATEMENT], /object/],
    ["nothing", null, /object/],
    ["no subject", withSubject(), /1 to 32/],
    ["33 subjects", withSubject(...subjects(33)), /1 to 32/],
    ["one resource twice", withSubject(SUBJECT, SUBJECT), /each resource once/],
    ["a subject that is no resource", withSubject({ ...SUBJECT, name: "shop:volume/../vol_1" }), /resource/],
    ["a subject with a wildcard", withSubject({ ...SUBJECT, name: "shop:volume/*" }), /resource/],
    ["a subject with more", withSubject({ ...SUBJECT, uri: "x" }), /nothing else/],
    ["a digest in capitals", withSubject({ ...SUBJECT, digest: { sha256: SHA.toUpperCase() } }), /sha256/],
    ["a digest that is short", withSubject({ ...SUBJECT, digest: { sha256: SHA.slice(1) } }), /sha256/],
    ["another digest too", withSubject({ ...SUBJECT, digest: { sha256: SHA, md5: "00" } }), /nothing else/],
    ["no location", withPredicate({ location: {} }), /1 to 16/],
    ["17 fields", withPredicate({ location: fields(17) }), /1 to 16/],
    ["a field that is no name", withPredicate({ location: { Account: "x" } }), /names/],
    ["a field with space in it", withPredicate({ location: { account: "a b" } }), /labels/],
    ["a field that is a list", withPredicate({ location: { account: ["x"] } }), /labels/],
    ["a field that is empty", withPredicate({ location: { account: "" } }), /labels/],
    ["a time with an offset", withPredicate({ takenAt: "2026-11-22T03:00:00+01:00" }), /takenAt/],
    ["a time without a zone", withPredicate({ takenAt: "2026-11-22T03:00:00" }), /takenAt/],
    ["a day that is none", withPredicate({ takenAt: "2026-02-30T03:00:00Z" }), /takenAt/],
    ["an hour that is none", withPredicate({ takenAt: "2026-11-21T24:00:00Z" }), /takenAt/],
    ["a time as a number", withPredicate({ takenAt: 1_795_316_400 }), /takenAt/],
    ["a restore test that is no time", withPredicate({ restoreTestedAt: "yes" }), /restoreTestedAt/],
    ["null for what is left out", withPredicate({ restoreTestedAt: null }), /restoreTestedAt/],
    ["a size below zero", withPredicate({ sizeBytes: -1 }), /sizeBytes/],
    ["half a byte", withPredicate({ sizeBytes: 0.5 }), /sizeBytes/],
    ["a size that no number holds", withPredicate({ sizeBytes: 2 ** 53 }), /sizeBytes/],
  ])("with %s is refused", (_what, value, about) => {
    expect(faultOf(() => parse(value))).toMatch(about);
  });

  it("of more than 12,288 bytes is refused, whatever it says", () => {
    const long = (name: string) => `shop:${"x".repeat(120)}/${"y".repeat(120)}/${name}`;
    const most = subjects(32).map((subject) => ({ ...subject, name: long(subject.name.slice(-3).replace("/", "")) }));
    expect(parse(withSubject(...most)).subjects).toHaveLength(32);
    const location = Object.fromEntries(Object.keys(fields(16)).map((name) => [name, "z".repeat(64)]));
    expect(faultOf(() => parse({ ...withSubject(...most), predicate: { ...PREDICATE, location } }))).toMatch(
      /12288 bytes/,
    );
  });

  const text = JSON.stringify(STATEMENT);
  it.each<[string, string | Buffer]>([
    ["a member twice", text.replace('"predicate":', '"predicate":{},"predicate":')],
    ["a field twice", text.replace('"account":', '"account":"elsewhere","account":')],
    ["spaces between its parts", JSON.stringify(STATEMENT, null, 1)],
    ["a line end after it", `${text}\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["escapes that are not needed", text.replace("account", "\\u0061ccount")],
    ["a number in another spelling", JSON.stringify(withPredicate({ sizeBytes: 1 })).replace(":1}", ":1.0}")],
    ["bytes that are not UTF-8", Buffer.concat([Buffer.from(text), Buffer.from([0xff])])],
    ["nesting without end", `${"[".repeat(6000)}${"]".repeat(6000)}`],
    ["nothing in it", ""],
  ])("with %s is refused", (_what, payload) => {
    expect(faultOf(() => parseStatement(Buffer.from(payload)))).toMatch(/^expected /);
  });

  it("is another one for another resource, agent or text", () => {
    const [a, b] = [Buffer.from(text), Buffer.from(`${text} `)];
    const digests = [
      statementDigest(a, "x", "y"),
      statementDigest(b, "x", "y"),
      statementDigest(a, "z", "y"),
      statementDigest(a, "x", "z"),
    ];
    expect(new Set(digests).size).toBe(4);
    expect(statementDigest(Buffer.from(a), "x", "y")).toBe(digests[0]);
  });
});

describe("what the SDK signs", () => {
  it.each(["ES256", "EdDSA"] as const)("with a key for %s is what the broker reads", async (algorithm) => {
    const pair = makeKeyPair("backup-1", algorithm);
    const signer = createKeySigner({ ...pair });
    const agent = {
      ...makeAgent("backup-1", {}),
      keys: [publicMembers(makeKeyPair("backup-1", "ES256")), publicMembers(pair)],
    };
    const envelope = await signStatement(signer, {
      subjects: [{ resource: SUBJECT.name, sha256: SHA }],
      location: PREDICATE.location,
      takenAt: new Date(Date.parse(PREDICATE.takenAt)),
      sizeBytes: 12,
      restoreTestedAt: new Date(Date.parse("2026-11-22T04:00:00Z")),
    });
    const { key, payload } = await verifyEnvelope(envelope, agent);
    expect(key).toBe(agent.keys[1]);
    expect(parseStatement(payload)).toEqual(
      parse(withPredicate({ sizeBytes: 12, restoreTestedAt: "2026-11-22T04:00:00Z" })),
    );
  });

  it("refuses a date that is none", async () => {
    const signer = createKeySigner({ ...makeKeyPair("backup-1", "ES256") });
    const backup = { subjects: [], location: {}, takenAt: new Date(Number.NaN) };
    await expect(signStatement(signer, backup)).rejects.toThrow("takenAt is not a date");
  });
});
