// Who can write the store's file, but has no master key, alters, moves, mixes and replaces sealed root credentials: none
// opens for an origin that it was not sealed with, and none as another than it is (semantics, rules 26 and 33).

import { beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import type { RootSecrets } from "../../src/secrets/root-secrets.ts";
import type { StoredSecret } from "../../src/secrets/secret-port.ts";
import { createMemorySecrets } from "../support/memory-secrets.ts";
import {
  makeGatewayUpstream,
  NONE_LISTED,
  openRootSecrets,
  personCall,
  policyOf,
} from "../support/root-secrets-fixture.ts";

const API = "https://api.example.com";
const EVIL = "https://evil.example";

let github: StoredSecret;
let stripe: StoredSecret;
let olderGithub: StoredSecret;

beforeAll(async () => {
  const { secrets, port } = await openRootSecrets();
  const put = async (name: string, value: string): Promise<StoredSecret> => {
    await secrets.put(personCall(), name, { value, origins: [API] });
    const row = port.rows.get(name);
    if (row === undefined) throw new Error("a secret that was put is in the store");
    return row;
  };
  olderGithub = await put("github", "github-root-1");
  github = await put("github", "github-root-2");
  stripe = await put("stripe", "stripe-root-1");
});

async function start(rows: readonly StoredSecret[], masterKey = 7): Promise<RootSecrets> {
  return (await openRootSecrets({ port: createMemorySecrets(rows), masterKey })).secrets;
}

async function expectShut(row: StoredSecret, origin = API, masterKey = 7): Promise<void> {
  const secrets = await start([row], masterKey);
  await expect(secrets.open(row.name, origin)).rejects.toMatchObject({
    code: "secret_unavailable",
    detail: expect.stringMatching(/does not open: the store was altered/),
  });
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return changed;
}

describe("a sealed root credential in an altered store", () => {
  it("opens where nothing was altered", async () => {
    const secrets = await start([github, stripe]);
    for (const name of ["github", "stripe"])
      expect(Buffer.from((await secrets.open(name, API)).reveal()).toString()).toMatch(new RegExp(`^${name}-root`));
  });

  it("does not open with any one bit flipped, of its value or of its data key", async () => {
    for (const part of ["sealedKey", "sealedValue"] as const)
      for (let bit = 0; bit < github[part].length * 8; bit++)
        await expectShut({ ...github, [part]: flip(github[part], bit) });
  });

  it("does not open cut short, or empty", async () => {
    for (const part of ["sealedKey", "sealedValue"] as const)
      for (let length = 0; length < github[part].length; length++)
        await expectShut({ ...github, [part]: github[part].subarray(0, length) });
  });

  it("does not open for an origin that was added in clear, nor for its own any more", async () => {
    await expectShut({ ...github, origins: [API, EVIL] }, EVIL);
    await expectShut({ ...github, origins: [API, EVIL] }, API);
    await expectShut({ ...github, origins: [EVIL] }, EVIL);
    await expectShut({ ...github, origins: [`${API}","${EVIL}`, EVIL] }, EVIL);
    await expectShut({ ...github, origins: [API, API] });
  });

  it("does not open under another name", async () => {
    await expectShut({ ...github, name: "stripe" });
    await expectShut({ ...github, name: "github/2" });
  });

  it("does not open as another version", async () => {
    for (const version of [1, 3, 2.5, -2, 0, Number.NaN]) await expectShut({ ...github, version });
  });

  it("does not open as a pair of two rows' halves", async () => {
    await expectShut({ ...github, sealedValue: stripe.sealedValue });
    await expectShut({ ...github, sealedKey: stripe.sealedKey });
    await expectShut({ ...stripe, sealedKey: github.sealedKey, sealedValue: github.sealedValue });
    await expectShut({ ...github, sealedValue: olderGithub.sealedValue });
    await expectShut({ ...github, sealedKey: olderGithub.sealedKey });
    await expectShut({ ...github, sealedKey: olderGithub.sealedKey, sealedValue: olderGithub.sealedValue });
    await expectShut({ ...github, sealedKey: github.sealedValue, sealedValue: github.sealedKey });
  });

  it("does not open under another master key", async () => {
    await expectShut(github, API, 8);
  });

  it("cannot stand for a mounted one: a row that is named like a reference is never looked at", async () => {
    const row = { ...github, name: "env:GITHUB", origins: [EVIL] };
    const secrets = await start([row]);
    expect(secrets.originsOf("env:GITHUB")).toBeNull();
    await expect(secrets.open("env:GITHUB", EVIL)).rejects.toMatchObject({
      detail: expect.stringContaining("is not listed"),
    });
    const { problems } = secrets.check(policyOf(makeGatewayUpstream("shop", "env:GITHUB", [EVIL])));
    expect(problems).toEqual([expect.stringContaining("is not listed")]);
    const value = new Secret(Buffer.from("mounted-root"));
    const listed = { ...NONE_LISTED, env: [{ name: "GITHUB", origins: [API], value }] };
    const mounted = await openRootSecrets({ port: createMemorySecrets([row]), listed });
    expect(await mounted.secrets.open("env:GITHUB", API)).toBe(value);
    await expect(mounted.secrets.open("env:GITHUB", EVIL)).rejects.toMatchObject({ code: "secret_unavailable" });
  });

  it("harms no other: the rest still opens", async () => {
    const secrets = await start([{ ...github, origins: [EVIL] }, stripe]);
    await expect(secrets.open("github", EVIL)).rejects.toMatchObject({ code: "secret_unavailable" });
    expect(Buffer.from((await secrets.open("stripe", API)).reveal()).toString()).toBe("stripe-root-1");
  });
});
