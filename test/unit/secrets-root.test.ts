// Root credentials through their life: put, opened for one origin, put again, forgotten; and what a policy may do with
// them (semantics, rule 26).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { openEnvelope, sealEnvelope } from "../../src/secrets/envelope.ts";
import { createMemorySecrets } from "../support/memory-secrets.ts";
import {
  makeGatewayUpstream,
  NONE_LISTED,
  NOW,
  openRootSecrets,
  personCall,
  policyOf,
  sealer,
} from "../support/root-secrets-fixture.ts";

const API = "https://api.example.com";
const UPLOADS = "https://uploads.example.com";
const EVIL = "https://evil.example";
const VALUE = "root-credential-1";
const textOf = (secret: Secret): string => Buffer.from(secret.reveal()).toString();

describe("an envelope", () => {
  it("gives back what was sealed, whatever the bytes, the name, the version and the origins", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2048 }),
        fc.stringMatching(/^[a-z0-9]{1,20}$/),
        fc.nat(),
        fc.array(fc.webUrl(), { maxLength: 16 }),
        (value, name, version, origins) => {
          const facts = { name, version, origins };
          const opened = openEnvelope(sealer, { ...facts, ...sealEnvelope(sealer, facts, value) });
          expect(Buffer.from(opened.reveal()).equals(value)).toBe(true);
        },
      ),
    );
  });

  it("has a data key of its own: the same value twice has nothing in common", () => {
    const facts = { name: "a", version: 1, origins: [API] };
    const all = Array.from({ length: 100 }, () => sealEnvelope(sealer, facts, Buffer.from(VALUE)));
    expect(new Set(all.map(({ sealedKey }) => Buffer.from(sealedKey).toString("hex"))).size).toBe(100);
    const keys = all.map(({ sealedKey }) => Buffer.from(sealer.open("secret-key", "a/1", sealedKey)).toString("hex"));
    expect(new Set(keys).size).toBe(100);
  });
});

describe("a keyed hash", () => {
  it("is equal for equal values alone, of 32 bytes, and another under another master key", async () => {
    const { secrets } = await openRootSecrets();
    expect(secrets.list()).toEqual([]);
    const { createSealer } = await import("../../src/secrets/sealer.ts");
    const other = createSealer(new Secret(Buffer.alloc(32, 8)));
    const hash = (by: typeof sealer, text: string): string =>
      Buffer.from(by.keyedHash("decoy", Buffer.from(text))).toString("hex");
    expect(hash(sealer, "a")).toHaveLength(64);
    expect(hash(sealer, "a")).toBe(hash(sealer, "a"));
    expect(hash(sealer, "a")).not.toBe(hash(sealer, "b"));
    expect(hash(sealer, "a")).not.toBe(hash(other, "a"));
  });
});

describe("a root credential", () => {
  it("opens for the origins that it was sealed with, and no other", async () => {
    const { secrets } = await openRootSecrets();
    await secrets.put(personCall(), "github", { value: VALUE, origins: [UPLOADS, API] });
    expect(textOf(await secrets.open("github", API))).toBe(VALUE);
    expect(textOf(await secrets.open("github", UPLOADS))).toBe(VALUE);
    for (const origin of [EVIL, `${API}/`, `${API}:443`, API.toUpperCase(), "http://api.example.com", "", "*"])
      await expect(secrets.open("github", origin), origin).rejects.toMatchObject({ code: "secret_unavailable" });
    expect(secrets.originsOf("github")).toEqual([API, UPLOADS]);
  });

  it("that is not there says how to put it", async () => {
    const { secrets } = await openRootSecrets();
    await expect(secrets.open("github", API)).rejects.toMatchObject({
      code: "secret_unavailable",
      detail: expect.stringContaining(`valetkey secrets put github --origin ${API}`),
    });
    expect(secrets.originsOf("github")).toBeNull();
  });

  it("put again replaces the one before, by a higher version, also after it was forgotten", async () => {
    const { secrets, port } = await openRootSecrets();
    const put = (value: string) => secrets.put(personCall(), "github", { value, origins: [API] });
    expect((await put("first-value")).version).toBe(1);
    expect((await put("second-value")).version).toBe(2);
    expect(textOf(await secrets.open("github", API))).toBe("second-value");
    expect(await secrets.remove(personCall(), "github")).toMatchObject({ name: "github", version: 2 });
    expect(port.rows.size).toBe(0);
    await expect(secrets.open("github", API)).rejects.toMatchObject({ code: "secret_unavailable" });
    expect((await put("third-value")).version).toBe(3);
  });

  it("survives a restart, and is listed without its value", async () => {
    const { secrets, port } = await openRootSecrets();
    await secrets.put(personCall(), "b", { value: VALUE, origins: [API] });
    await secrets.put(personCall(), "a", { value: VALUE, origins: [API] });
    const policy = policyOf(makeGatewayUpstream("shop", "b", [API]));
    const again = await openRootSecrets({ port, policy });
    expect(textOf(await again.secrets.open("b", API))).toBe(VALUE);
    const facts = {
      source: "sealed",
      version: 1,
      origins: [API],
      createdAt: new Date(NOW).toISOString(),
      createdBy: "admin-1",
    };
    expect(again.secrets.list()).toEqual([
      { name: "a", upstreams: [], webhooks: [], ...facts },
      { name: "b", upstreams: ["shop"], webhooks: [], ...facts },
    ]);
  });

  it("is sealed and forgotten together with its event, by one proof", async () => {
    const { secrets, port } = await openRootSecrets();
    const [put, remove] = [personCall(), personCall()];
    await secrets.put(put, "github", { value: VALUE, origins: [UPLOADS, API] });
    await secrets.remove(remove, "github");
    expect(port.commands.map(({ proof }) => proof)).toEqual([put.proof, remove.proof]);
    const facts = { person: "admin-1", policy: policyOf().digest };
    expect(port.commands.map(({ event }) => event.fields)).toEqual([
      { type: "secret.sealed", secret: "github", version: 1, origins: [API, UPLOADS], request: put.request, ...facts },
      { type: "secret.deleted", secret: "github", request: remove.request, ...facts },
    ]);
  });

  it("is not changed by a proof that was used before", async () => {
    const { secrets } = await openRootSecrets();
    const call = personCall();
    await secrets.put(call, "github", { value: VALUE, origins: [API] });
    await expect(secrets.put(call, "github", { value: "another-value", origins: [API] })).rejects.toMatchObject({
      code: "proof_replayed",
    });
    await expect(secrets.remove(call, "github")).rejects.toMatchObject({ code: "proof_replayed" });
    expect(textOf(await secrets.open("github", API))).toBe(VALUE);
  });

  it("that is not there cannot be forgotten", async () => {
    const { secrets } = await openRootSecrets();
    await expect(secrets.remove(personCall(), "github")).rejects.toMatchObject({ code: "not_found" });
  });

  it("put twice at once ends as the store has it", async () => {
    const { secrets, port } = await openRootSecrets();
    const puts = ["one-value", "two-value", "three-value"].map((value) =>
      secrets.put(personCall(), "github", { value, origins: [API] }),
    );
    expect((await Promise.all(puts)).map(({ version }) => version)).toEqual([1, 2, 3]);
    expect(port.rows.get("github")?.version).toBe(3);
    expect(textOf(await secrets.open("github", API))).toBe("three-value");
  });

  it("is gone from memory too when the store forgot it and could not say so", async () => {
    const { secrets, port } = await openRootSecrets();
    await secrets.put(personCall(), "github", { value: VALUE, origins: [API] });
    port.loseNextAnswer();
    await expect(secrets.remove(personCall(), "github")).rejects.toThrow("does not answer");
    await expect(secrets.open("github", API)).rejects.toMatchObject({ code: "secret_unavailable" });
    port.loseNextAnswer();
    await expect(secrets.put(personCall(), "github", { value: VALUE, origins: [API] })).rejects.toThrow("not answer");
    expect(textOf(await secrets.open("github", API))).toBe(VALUE);
  });

  it("put by another meanwhile is a conflict, and nothing is replaced", async () => {
    const port = createMemorySecrets();
    const { secrets } = await openRootSecrets({ port: { ...port, lastSecretVersion: async () => 4 } });
    await expect(secrets.put(personCall(), "github", { value: VALUE, origins: [API] })).rejects.toMatchObject({
      code: "conflict",
    });
    expect(port.rows.size).toBe(0);
  });

  it.each([
    ["short", "1234567"],
    ["long", "x".repeat(16_385)],
    ["long in bytes", "é".repeat(8193)],
    ["with a zero byte", "12345678\0"],
    ["with half a character", "12345678\ud800"],
  ])("that is too %s is refused before anything is stored", async (_what, value) => {
    const { secrets, port } = await openRootSecrets();
    await expect(secrets.put(personCall(), "github", { value, origins: [API] })).rejects.toMatchObject({
      code: "malformed_request",
    });
    expect(port.commands).toEqual([]);
  });

  it.each(["env:GITHUB", "file:github", "a/b", "A", "", "..", "__proto__", "a".repeat(65)])(
    "has no name like %j",
    async (name) => {
      const { secrets, port } = await openRootSecrets();
      await expect(secrets.put(personCall(), name, { value: VALUE, origins: [API] })).rejects.toMatchObject({
        code: "malformed_request",
      });
      await expect(secrets.remove(personCall(), name)).rejects.toMatchObject({ code: "malformed_request" });
      expect(port.commands).toEqual([]);
    },
  );
});

describe("a policy (rule 26)", () => {
  const sealed = async () => {
    const opened = await openRootSecrets({
      listed: { ...NONE_LISTED, env: [{ name: "GITHUB", origins: [API], value: new Secret(Buffer.from(VALUE)) }] },
    });
    await opened.secrets.put(personCall(), "github", { value: VALUE, origins: [API] });
    return opened;
  };

  it("that keeps to the origins of its secrets is good", async () => {
    const { secrets } = await sealed();
    const scopes = policyOf(
      makeGatewayUpstream("a", "github", [API], [API]),
      makeGatewayUpstream("b", "env:GITHUB", [API]),
    );
    expect(secrets.check(scopes)).toEqual({ problems: [], warnings: [] });
  });

  it.each([
    ["an upstream", makeGatewayUpstream("shop", "github", [API, EVIL])],
    ["an operation", makeGatewayUpstream("shop", "github", [API], [EVIL])],
    ["an upstream, of a mounted secret", makeGatewayUpstream("shop", "env:GITHUB", [EVIL])],
  ])("that would send a secret elsewhere is refused, for %s", async (_what, upstream) => {
    const { secrets } = await sealed();
    const { problems, warnings } = secrets.check(policyOf(upstream));
    expect(problems).toEqual([expect.stringMatching(new RegExp(`^upstream shop: .*not be sent to ${EVIL}`))]);
    expect(warnings).toEqual([]);
  });

  it.each(["env:OTHER", "file:github", "env:", "file:../master.key"])(
    "that names %s, which the operator does not list, is refused",
    async (reference) => {
      const { secrets } = await sealed();
      const { problems } = secrets.check(policyOf(makeGatewayUpstream("shop", reference, [API])));
      expect(problems).toEqual([expect.stringContaining("is not listed")]);
      await expect(secrets.open(reference, API)).rejects.toMatchObject({ code: "secret_unavailable" });
    },
  );

  it("that names a secret which is not there yet is warned of", async () => {
    const { secrets } = await sealed();
    const { problems, warnings } = secrets.check(policyOf(makeGatewayUpstream("shop", "later", [API, UPLOADS])));
    expect(problems).toEqual([]);
    expect(warnings).toEqual([
      expect.stringContaining(`valetkey secrets put later --origin ${API} --origin ${UPLOADS}`),
    ]);
  });

  it("in force keeps a secret from being put with fewer origins than its upstreams use", async () => {
    const policy = policyOf(makeGatewayUpstream("shop", "github", [API, UPLOADS]));
    const { secrets, port } = await openRootSecrets({ policy });
    const put = (origins: string[]) => secrets.put(personCall(), "github", { value: VALUE, origins });
    await expect(put([API])).rejects.toMatchObject({
      code: "conflict",
      detail: expect.stringMatching(/shop.*uploads/),
    });
    expect(port.commands).toEqual([]);
    expect((await put([UPLOADS, API])).upstreams).toEqual(["shop"]);
  });

  describe("with webhooks", () => {
    const withWebhook = (secret: string, url: string) => {
      const policy = policyOf();
      const webhook = { name: "pager", url, secret, events: new Set(["hold.created"]), addresses: [] };
      return { ...policy, settings: { ...policy.settings, webhooks: [webhook] } };
    };

    it("that sign for the origins of their secrets is good, whatever the path", async () => {
      const { secrets } = await sealed();
      for (const secret of ["github", "env:GITHUB"])
        expect(secrets.check(withWebhook(secret, `${API}/hooks/1?a=b`))).toEqual({ problems: [], warnings: [] });
    });

    it.each(["github", "env:GITHUB"])("that would use %s for another origin is refused", async (secret) => {
      const { secrets } = await sealed();
      const { problems, warnings } = secrets.check(withWebhook(secret, `${EVIL}/hooks/1`));
      expect(problems).toEqual([expect.stringMatching(new RegExp(`^webhook pager: .*not be sent to ${EVIL}`))]);
      expect(warnings).toEqual([]);
    });

    it("that name a secret which is not there is warned of, or refused where the operator would list it", async () => {
      const { secrets } = await sealed();
      expect(secrets.check(withWebhook("later", `${API}/hooks/1`))).toEqual({
        problems: [],
        warnings: [expect.stringMatching(/^webhook pager: .*secrets put later --origin https:\/\/api\.example\.com$/)],
      });
      expect(secrets.check(withWebhook("env:OTHER", `${API}/hooks/1`)).problems).toEqual([
        expect.stringContaining("is not listed"),
      ]);
    });

    it("in force keeps their secret from being put without their origin", async () => {
      const { secrets, port } = await openRootSecrets({ policy: withWebhook("github", `${API}/hooks/1`) });
      const put = (origins: string[]) => secrets.put(personCall(), "github", { value: VALUE, origins });
      await expect(put([UPLOADS])).rejects.toMatchObject({
        code: "conflict",
        detail: expect.stringMatching(/webhook pager.*api/),
      });
      expect(port.commands).toEqual([]);
      expect(await put([API])).toMatchObject({ upstreams: [], webhooks: ["pager"] });
    });
  });
});
