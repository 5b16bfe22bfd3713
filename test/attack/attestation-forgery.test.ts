// Forged statements on backups: by other keys, over other bytes, of another's resources, of another time. Envelopes are
// made here by hand, with an encoding of this file's own: what verifies must be DSSE, not what our own signer makes.

import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import type { AttestationRequest } from "../../src/api/holds.ts";
import type { RecordPort } from "../../src/audit/record-port.ts";
import type { LeafDraft } from "../../src/core/leaf.ts";
import { createAttestations } from "../../src/holds/accept-attestation.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import type { Agent, PublicJwk, Resource, Upstream } from "../../src/scopes/scope-set.ts";
import { makeAgent, makeScopeSet } from "../support/scope-set-fixture.ts";

const NOW = Date.parse("2026-11-22T12:00:00.000Z");
const DAY = 86_400_000;
const TYPE = "application/vnd.in-toto+json";
const SHA = "ab".repeat(32);
const VOLUME = "railway:volume/vol_1";
const CATALOGUED = "shop:volume/main";
const PROOF = { key: "backup-1 proof", issuedAt: NOW, forgetAt: NOW + 60_000 };
const REQUEST = "req_01JD3V9K2M8Q5R7T9W1X3Z5B7D";

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
const wide = generateKeyPairSync("ec", { namedCurve: "P-384" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
// A key of a test: its JWK has texts alone.
const jwkOf = (key: KeyObject) => key.export({ format: "jwk" }) as PublicJwk;

const covers = ({ labels }: Resource): boolean =>
  labels["type"]?.includes("volume") === true && labels["environment"]?.includes("production") !== true;
const attestor: Agent = {
  ...makeAgent("backup-1", { environment: ["staging"] }),
  owner: "dba-1",
  keys: [jwkOf(ec.publicKey), jwkOf(ed.publicKey)],
  attests: covers,
};

const base = makeScopeSet({
  upstreams: { shop: ["volume:delete"], railway: ["volume:delete"] },
  resources: { [CATALOGUED]: { environment: ["staging"] }, "shop:volume/live": { environment: ["production"] } },
});
const railway = base.upstreams.get("railway");
const scopes = {
  ...base,
  // Its type is all that is looked at here.
  upstreams: new Map([...base.upstreams, ["railway", { ...railway, type: "graphql" } as unknown as Upstream]]),
};

interface Said {
  readonly resources?: readonly string[];
  readonly predicate?: object;
}

function statementOf({ resources = [VOLUME], predicate = {} }: Said = {}): string {
  return JSON.stringify({
    _type: "https://in-toto.io/Statement/v1",
    subject: resources.map((name) => ({ name, digest: { sha256: SHA } })),
    predicateType: "urn:valetkey:backup:v1",
    predicate: { location: { account: "shop-backups" }, takenAt: new Date(NOW - 60_000).toISOString(), ...predicate },
  });
}

const pae = (payload: string, type = TYPE): Buffer =>
  Buffer.from(`DSSEv1 ${type.length} ${type} ${Buffer.byteLength(payload)} ${payload}`);
const seal = (payload: string, signature: Uint8Array, keyid?: string): AttestationRequest => ({
  payloadType: TYPE,
  payload: Buffer.from(payload).toString("base64"),
  signatures: [{ ...(keyid === undefined ? {} : { keyid }), sig: Buffer.from(signature).toString("base64") }],
});
const byEc = (payload: string, key = ec.privateKey): AttestationRequest =>
  seal(payload, sign("sha256", pae(payload), key));

let attested: Parameters<HoldPort["attest"]>[0][] = [];
let recorded: { readonly proof: unknown; readonly events: readonly LeafDraft[] }[] = [];
let woken = 0;
beforeEach(() => {
  attested = [];
  recorded = [];
  woken = 0;
});

function attest(envelope: AttestationRequest, agent: Partial<Agent> = {}, replayed = false) {
  const refused = { outcome: "proof_replayed" } as const;
  const port: Pick<HoldPort, "attest"> = {
    attest: async (command) => {
      if (replayed) return refused;
      attested.push(command);
      const stored = command.attestations.map(({ attestation: { random, ...facts } }) => ({
        ...facts,
        id: `att_${random}` as const,
      }));
      return { outcome: "attested", attestations: stored, holds: 2 };
    },
  };
  const record: Pick<RecordPort, "append"> = {
    append: async ({ at, proof, events }) => {
      if (replayed) return refused;
      recorded.push({ proof, events });
      return { outcome: "appended", instant: at, head: { seq: 1, hash: "" } };
    },
  };
  const clock = { at: () => NOW, hasParted: () => false, acknowledge: () => undefined };
  const attestations = createAttestations({
    port,
    // Nothing else of it is called.
    record: record as RecordPort,
    clock,
    policy: () => scopes,
    onAttested: () => void woken++,
  });
  return attestations.attest({ agent: { ...attestor, ...agent }, proof: PROOF, request: REQUEST }, envelope);
}

async function expectRefused(
  envelope: AttestationRequest,
  about: RegExp,
  agent: Partial<Agent> = {},
  code: ErrorCode = "attestation_invalid",
): Promise<void> {
  await expect(attest(envelope, agent)).rejects.toMatchObject({
    name: "BrokerError",
    code,
    detail: expect.stringMatching(about),
    isRecorded: true,
  });
  expect(attested).toEqual([]);
  expect(woken).toBe(0);
  // The refusal consumed the proof, in the same transaction.
  expect(recorded).toEqual([
    {
      proof: PROOF,
      events: [
        { random: expect.any(String), fields: expect.objectContaining({ type: "backup.refused", agent: "backup-1" }) },
      ],
    },
  ]);
}

describe("a statement on a backup", () => {
  it.each([
    ["ECDSA in DER", byEc(statementOf())],
    ["Ed25519", seal(statementOf(), sign(null, pae(statementOf()), ed.privateKey))],
    ["a keyid that is another's", seal(statementOf(), sign(null, pae(statementOf()), ed.privateKey), "dba-1 \u202e")],
  ])("by %s is accepted, and on record with the key that it verified with", async (_by, envelope) => {
    const answer = await attest(envelope);
    expect(answer).toMatchObject({
      holds: 2,
      attestations: [{ resource: VOLUME, agent: "backup-1", sha256: SHA, bytes: null }],
    });
    expect(woken).toBe(1);
    expect(attested).toHaveLength(1);
    expect(attested[0]).toMatchObject({ at: NOW, proof: PROOF });
    const [{ event } = expect.fail("one is kept")] = attested[0]?.attestations ?? [];
    expect(event.fields).toMatchObject({
      type: "backup.attested",
      owner: "dba-1",
      envelope: { payload: envelope.payload },
    });
    expect(JSON.stringify(event.fields)).not.toContain("\u202e");
    expect(recorded).toEqual([]);
  });

  it("on several resources is kept for each of them", async () => {
    await attest(byEc(statementOf({ resources: [VOLUME, CATALOGUED] })));
    const kept = attested[0]?.attestations ?? [];
    expect(kept.map(({ attestation }) => attestation.resource)).toEqual([VOLUME, CATALOGUED]);
    expect(new Set(kept.map(({ attestation }) => attestation.statement)).size).toBe(2);
    expect(kept.map(({ event }) => event.fields["resource"])).toEqual([VOLUME, CATALOGUED]);
  });

  const good = statementOf();
  const other = statementOf({ predicate: { location: { account: "elsewhere" } } });
  const der = sign("sha256", pae(good), ec.privateKey);
  it.each<[string, AttestationRequest]>([
    ["a key that nobody registered", byEc(good, stranger.privateKey)],
    ["a key of another curve", byEc(good, wide.privateKey)],
    ["an RSA key", byEc(good, rsa.privateKey)],
    ["another digest", seal(good, sign("sha512", pae(good), ec.privateKey))],
    [
      "two numbers in a row, as in a JWS",
      seal(good, sign("sha256", pae(good), { key: ec.privateKey, dsaEncoding: "ieee-p1363" })),
    ],
    ["DER with more after it", seal(good, Buffer.concat([der, Buffer.from([0])]))],
    ["DER with its length in two bytes", seal(good, Buffer.concat([Buffer.from([0x30, 0x81]), der.subarray(1)]))],
    ["DER of two zeros", seal(good, Buffer.from("3006020100020100", "hex"))],
    ["nothing", seal(good, Buffer.alloc(0))],
    ["64 zeros", seal(good, Buffer.alloc(64))],
    ["the payload alone, without its type", seal(good, sign("sha256", Buffer.from(good), ec.privateKey))],
    ["the payload with another type", seal(good, sign("sha256", pae(good, "application/json"), ec.privateKey))],
    ["the payload in base64", seal(good, sign("sha256", pae(Buffer.from(good).toString("base64")), ec.privateKey))],
    ["a signature over another statement", seal(good, sign("sha256", pae(other), ec.privateKey))],
  ])("signed with %s is refused", async (_what, envelope) => {
    await expectRefused(envelope, /not signed by a key/);
  });

  it("of another agent, sent on by this one, is refused", async () => {
    await expectRefused(byEc(good), /not signed by a key/, { keys: [jwkOf(stranger.publicKey)] });
  });

  it("is refused where the agent's keys are none that sign statements", async () => {
    await expectRefused(byEc(good, wide.privateKey), /not signed/, {
      keys: [jwkOf(wide.publicKey), { kty: "EC", crv: "P-256", x: "AA", y: "AA" }],
    });
  });

  it("has one signature and one spelling", async () => {
    const envelope = byEc(good);
    const [only] = envelope.signatures;
    if (only === undefined) return expect.fail("there is one");
    await expectRefused({ ...envelope, signatures: [only, only] }, /exactly one signature/);
    recorded = [];
    await expectRefused({ ...envelope, signatures: [] }, /exactly one signature/);
    recorded = [];
    await expectRefused({ ...envelope, payload: `${envelope.payload}\n` }, /canonical base64/);
    recorded = [];
    const respelled = only.sig.endsWith("=") ? only.sig.replaceAll("=", "") : `${only.sig}=`;
    await expectRefused({ ...envelope, signatures: [{ sig: respelled }] }, /canonical base64|not signed/);
  });

  it.each([
    ["without the right to attest", { attests: null }, /has no attests/, "power_missing"],
    ["without an owner", { owner: null }, /has no owner/, "attestation_invalid"],
    ["without a key", { keys: [] }, /not signed/, "attestation_invalid"],
  ] as const)("by an agent %s is refused", async (_who, agent, about, code) => {
    await expectRefused(byEc(good), about, agent, code);
  });

  it.each([
    [
      "of a type that the agent does not attest",
      "railway:service/web",
      /does not cover railway:service\/web/,
      "power_missing",
    ],
    ["of an environment that it does not attest", "shop:volume/live", /does not cover/, "power_missing"],
    ["that the catalogue of its service lacks", "shop:volume/other", /not in the catalogue/, "attestation_invalid"],
    ["of an upstream that there is not", "nowhere:volume/vol_1", /not in the catalogue/, "attestation_invalid"],
  ] as const)("on a resource %s is refused, whole", async (_which, resource, about, code) => {
    await expectRefused(byEc(statementOf({ resources: [VOLUME, resource] })), about, {}, code);
    expect(recorded[0]?.events[0]?.fields["reasons"]).toMatchObject([{ resource, rule: "agent backup-1" }]);
  });

  it("on what only a provider labels is judged by the built-in labels alone", async () => {
    const seen: Resource[] = [];
    const attests = (resource: Resource) => seen.push(resource) > 0;
    await attest(byEc(good), { attests });
    expect(seen).toMatchObject([{ id: VOLUME, labels: { upstream: ["railway"], type: ["volume"] }, environments: [] }]);
  });

  const at = (ms: number) => new Date(ms).toISOString();
  it.each([
    ["taken in the future", { takenAt: at(NOW + 30_001) }, /takenAt is in the future/],
    ["taken more than 90 days ago", { takenAt: at(NOW - 90 * DAY - 1) }, /90 days/],
    ["restored from before it was taken", { restoreTestedAt: at(NOW - 60_001) }, /before takenAt/],
    ["restored from in the future", { restoreTestedAt: at(NOW + 30_001) }, /restoreTestedAt is in the future/],
  ])("on a backup %s is refused", async (_when, predicate, about) => {
    await expectRefused(byEc(statementOf({ predicate })), about);
  });

  it("on a backup at the very edge of what is allowed is accepted", async () => {
    await attest(byEc(statementOf({ predicate: { takenAt: at(NOW - 90 * DAY) } })));
    await attest(byEc(statementOf({ predicate: { takenAt: at(NOW + 30_000), restoreTestedAt: at(NOW + 30_000) } })));
    expect(attested).toHaveLength(2);
  });

  it("with a proof that was used before is neither kept nor recorded", async () => {
    await expect(attest(byEc(good), {}, true)).rejects.toMatchObject({ code: "proof_replayed", isRecorded: false });
    await expect(attest(byEc(good, stranger.privateKey), {}, true)).rejects.toMatchObject({ code: "proof_replayed" });
    expect(woken).toBe(0);
  });
});
