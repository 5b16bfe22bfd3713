// Which statements on a backup count for a hold (semantics, rule 25), and what people are told of those that do not.

import { describe, expect, it } from "vitest";
import type { Requirements } from "../../src/core/hold-document.ts";
import { thumbprint } from "../../src/core/thumbprint.ts";
import type { StoredAttestation } from "../../src/holds/hold.ts";
import { type BackupQuestion, judgeBackup } from "../../src/holds/judge-backup.ts";
import type { Agent, Labels, Resource } from "../../src/scopes/scope-set.ts";
import { makeAgent, makeScopeSet } from "../support/scope-set-fixture.ts";

const NOW = Date.parse("2026-11-22T12:00:00.000Z");
const HOUR = 3_600_000;
const VOLUME = "shop:volume/vol_1";
const LABELS = { upstream: ["shop"], type: ["volume"], account: ["shop-main"], volume: ["vol_1", "vol_1-replica"] };
const BACKUP: NonNullable<Requirements["backup"]> = {
  maxAgeSeconds: 86_400,
  separateFrom: ["account", "volume"],
  restoreTested: false,
};
const KEY = { kty: "OKP", crv: "Ed25519", x: "the-key-that-signed" };
const ATTESTATION: StoredAttestation = {
  id: "att_01JD3V9K2M8Q5R7T9W1X3Z5B7D",
  resource: VOLUME,
  agent: "backup-1",
  owner: "dba-1",
  location: { account: "shop-backups", volume: "b-77" },
  takenAt: NOW - 3 * HOUR,
  restoreTestedAt: null,
  bytes: 1024,
  sha256: "ab".repeat(32),
  key: thumbprint(KEY),
  statement: "cd".repeat(32),
};
const isVolume = ({ labels }: Resource): boolean => labels["type"]?.every((type) => type === "volume") === true;

interface Changes {
  readonly attestation?: Partial<StoredAttestation>;
  readonly backup?: Partial<typeof BACKUP>;
  readonly labels?: Labels;
  readonly catalogue?: Labels;
  readonly attestor?: Partial<Agent> | null;
  readonly agents?: BackupQuestion["agents"];
  readonly owners?: readonly string[];
}

function judge({ attestation, backup, labels = LABELS, catalogue, attestor = {}, agents, owners }: Changes = {}) {
  const scopes = makeScopeSet({ resources: catalogue === undefined ? {} : { [VOLUME]: catalogue } });
  const own = {
    ...makeAgent("backup-1", { environment: ["staging"] }),
    owner: "dba-1",
    attests: isVolume,
    keys: [KEY],
  };
  return judgeBackup(
    { ...ATTESTATION, ...attestation },
    {
      permission: { action: "volume:delete", resource: VOLUME, labels },
      backup: { ...BACKUP, ...backup },
      agents: agents ?? [{ name: "coder", owner: "dev-1" }],
      owners: owners ?? ["dev-1"],
      scopes: { ...scopes, principals: new Map(attestor === null ? [] : [["backup-1", { ...own, ...attestor }]]) },
      instant: NOW,
    },
  );
}

describe("a statement on a backup", () => {
  it("counts where it is fresh, separate and by somebody unrelated", () => {
    expect(judge()).toBeNull();
  });

  it("does not count when the key that signed it is no longer the attestor's", () => {
    expect(judge({ attestor: { keys: [] } })).toContain("the key of backup-1 that signed it is gone");
    expect(judge({ attestation: { key: "of another" } })).toContain("is gone");
  });

  it("of another resource does not count", () => {
    expect(judge({ attestation: { resource: "shop:volume/vol_2" } })).toBe("it is of another resource");
  });

  it.each<[string, Changes, string]>([
    ["by the agent that asks", { agents: [{ name: "backup-1", owner: "dev-1" }] }, "is the agent that asks"],
    [
      "by an agent further up the chain",
      {
        agents: [
          { name: "backup-1", owner: "dev-2" },
          { name: "coder", owner: "dev-1" },
        ],
      },
      "is the agent that asks",
    ],
    ["by an agent of the same owner then", { owners: ["dba-1"], attestor: { owner: "sre-1" } }, "belongs to dba-1"],
    ["by an agent of the same owner now", { owners: ["sre-1"], attestor: { owner: "sre-1" } }, "belongs to sre-1"],
    [
      "for an agent whose owner nobody knows",
      { agents: [{ name: "coder", owner: null }] },
      "coder, which asks, has no owner",
    ],
    ["by an agent that is gone", { attestor: null }, "is no agent any more"],
    ["by an agent whose owner is gone", { attestor: { owner: null } }, "has no owner any more"],
    [
      "by an agent that may not attest any more",
      { attestor: { attests: null } },
      "is not registered for this resource any more",
    ],
    [
      "by an agent that may not attest this any more",
      { attestor: { attests: ({ id }) => id !== VOLUME } },
      "is not registered for this resource any more",
    ],
  ])("%s does not count (rule 25)", (_who, changes, fault) => {
    expect(judge(changes)).toContain(fault);
  });

  it("is judged by the labels that were resolved and the catalogue's together", () => {
    const attests = ({ environments }: Resource): boolean => environments.every((name) => name === "staging");
    expect(judge({ attestor: { attests } })).toBeNull();
    expect(judge({ attestor: { attests }, catalogue: { environment: ["production"] } })).toContain("not registered");
    expect(judge({ catalogue: { account: ["shop-backups"] } })).toBe("its account is the resource's own");
  });

  it.each([
    [24 * HOUR, null],
    [24 * HOUR + 1, "it is 24h 1m old, expected at most 24h"],
    [27 * HOUR, "it is 27h old, expected at most 24h"],
    [100 * HOUR, "it is 5d old, expected at most 24h"],
    [-30_000, null],
    [-30_001, "it is from the future"],
    [Number.NaN, "it is from the future"],
  ])("taken %i ms ago, of at most a day: %s", (age, fault) => {
    expect(judge({ attestation: { takenAt: NOW - age } })).toBe(fault);
  });

  it.each([
    [900, "15m"],
    [3 * 3600, "3h"],
    [2 * 86_400, "48h"],
    [3 * 86_400, "3d"],
  ])("too old for %i s is told as in the policy", (maxAgeSeconds, limit) => {
    const fault = judge({ backup: { maxAgeSeconds }, attestation: { takenAt: NOW - 400 * HOUR } });
    expect(fault).toBe(`it is 17d old, expected at most ${limit}`);
  });

  it.each([
    ["none", null, "no restore of it was tested"],
    ["one before it was taken", NOW - 4 * HOUR, "its restore test is not between then and now"],
    ["one in the future", NOW + HOUR, "its restore test is not between then and now"],
    ["one", NOW - HOUR, null],
  ])("where a restore test is asked, with %s: judged by it", (_what, restoreTestedAt, fault) => {
    expect(judge({ backup: { restoreTested: true }, attestation: { restoreTestedAt } })).toBe(fault);
  });

  it.each<[string, Changes, string]>([
    [
      "one that is the resource's",
      { attestation: { location: { account: "shop-main", volume: "b-77" } } },
      "its account is the resource's own",
    ],
    [
      "the resource's in another case",
      { attestation: { location: { account: "SHOP-Main", volume: "b-77" } } },
      "its account is the resource's own",
    ],
    [
      "one of several of the resource's",
      { attestation: { location: { account: "x", volume: "vol_1-replica" } } },
      "its volume is the resource's own",
    ],
    [
      "one that the statement lacks",
      { attestation: { location: { account: "shop-backups" } } },
      "its volume is not stated",
    ],
    [
      "one that the resource lacks",
      { backup: { separateFrom: ["region"] }, attestation: { location: { region: "eu" } } },
      "the resource has no label region",
    ],
    [
      "one of which the resource has no value",
      { labels: { ...LABELS, account: [] } },
      "the resource has no label account",
    ],
    ["one that every object has", { backup: { separateFrom: ["constructor"] } }, "its constructor is not stated"],
  ])("is not separate by a field %s", (_what, changes, fault) => {
    expect(judge(changes)).toContain(fault);
  });

  it("needs to differ only in what the policy names", () => {
    expect(judge({ backup: { separateFrom: [] }, attestation: { location: { account: "shop-main" } } })).toBeNull();
  });
});
