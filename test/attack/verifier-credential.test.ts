// Credentials that somebody made or changed, held against a verifier with a real feed: none may be accepted.

import { createHmac } from "node:crypto";
import { CompactSign, exportSPKI, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createVerifier, VerificationError, type Verifier } from "../../src/sdk/verify.ts";
import { AUDIENCE, type FeedStandIn, makeClock, makePair, startFeedStandIn } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const clock = makeClock();
const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let broker: FeedStandIn;
let verifier: Verifier;

beforeAll(async () => {
  broker = await startFeedStandIn(clock);
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
  });
  await verifier.ready();
});
afterAll(async () => {
  verifier.close();
  await broker.close();
});

/** "accepted", or the code of the refusal: twice, so that nothing that was refused is remembered as good. */
async function outcome(jwt: string, demanded: typeof wanted = wanted): Promise<string> {
  const once = () =>
    verifier.verify(jwt, demanded).then(
      () => "accepted",
      (cause: unknown) => (cause instanceof VerificationError ? cause.code : "another error"),
    );
  const [first, second] = [await once(), await once()];
  return first === second ? first : `${first}, then ${second}`;
}

const detail = (identifier: string) => ({ type: "capability", actions: ["volume:read"], identifier });
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a verifier", () => {
  it("accepts a credential that is right in all respects, and says whose it is", async () => {
    const jwt = await broker.mint();
    const call = await verifier.verify(jwt, wanted);
    expect(call).toMatchObject({ agent: "coder", task: "fix staging credentials", role: "volume-reader", ...wanted });
    expect(JSON.stringify(call)).not.toContain(jwt.split(".")[2]);
  });

  it("accepts the long form of the type, as RFC 9068 demands", async () => {
    await expect(verifier.verify(await broker.mint({}, { typ: "application/at+jwt" }), wanted)).resolves.toBeDefined();
  });

  it("refuses 'alg: none'", async () => {
    const header = { alg: "none", typ: "at+jwt", kid: broker.credentialKey.kid };
    expect(await outcome(`${part(header)}.${part(broker.claims())}.`)).toBe("credential_invalid");
    expect(await outcome(`${part(header)}.${part(broker.claims())}.AA`)).toBe("credential_invalid");
  });

  it("refuses HS256 with the public key as secret", async () => {
    const spki = await exportSPKI(broker.credentialKey.publicKey);
    for (const secret of [
      spki,
      JSON.stringify(broker.credentialKey.publicJwk),
      broker.credentialKey.publicJwk.x ?? "",
    ]) {
      const input = `${part({ alg: "HS256", typ: "at+jwt", kid: broker.credentialKey.kid })}.${part(broker.claims())}`;
      expect(await outcome(`${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`)).toBe(
        "credential_invalid",
      );
    }
  });

  it.each(["JWT", "client-authentication+jwt", "valetkey-feed+jwt", "AT+JWT", undefined])(
    "refuses the type %s",
    async (typ) => {
      expect(await outcome(await broker.mint({}, { typ }))).toBe("credential_invalid");
    },
  );

  it("refuses a credential that another key signed under the broker's key id", async () => {
    const other = { ...(await makePair("x")), kid: broker.credentialKey.kid };
    expect(await outcome(await broker.mint({}, {}, other))).toBe("credential_invalid");
  });

  it("refuses a credential that the record key signed: keys of one purpose do not serve the other", async () => {
    expect(await outcome(await broker.mint({}, {}, broker.recordKey))).toBe("credential_invalid");
  });

  it.each(["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty"])(
    "refuses a header that brings '%s'",
    async (member) => {
      const own = await makePair("mine");
      const value = member === "jwk" ? own.publicJwk : member === "x5c" ? ["AAAA"] : "https://evil.example/keys";
      for (const [pair, kid] of [
        [own, "mine"],
        [broker.credentialKey, broker.credentialKey.kid],
      ] as const) {
        const header = part({ alg: "ES256", typ: "at+jwt", kid, [member]: value });
        const signed = await broker.mint({}, {}, pair);
        expect(await outcome(signed.replace(/^[^.]+/, header))).toBe("credential_invalid");
      }
      if (member === "crit" || member === "b64") return;
      // Signed by the broker's own key, so that only the header can be what is refused.
      expect(await outcome(await broker.mint({}, { [member]: value }))).toBe("credential_invalid");
    },
  );

  it.each([undefined, "", 7, "k".repeat(129), "key_unknown", "__proto__", "../jwks"])(
    "refuses the key id %s",
    async (kid) => {
      expect(await outcome(await broker.mint({}, { kid }))).toBe("credential_invalid");
    },
  );

  it.each([
    ["another deployment", "https://shop.production.example"],
    ["a longer one", `${AUDIENCE}/`],
    ["an array with ours alone", [AUDIENCE]],
    ["an array with ours and another", [AUDIENCE, "https://shop.production.example"]],
    ["none", undefined],
  ])("refuses the audience of %s", async (_, aud) => {
    expect(await outcome(await broker.mint({ aud }))).toBe("wrong_audience");
  });

  it("refuses another issuer", async () => {
    expect(await outcome(await broker.mint({ iss: `${broker.url}/` }))).toBe("credential_invalid");
    expect(await outcome(await broker.mint({ iss: [broker.url] }))).toBe("credential_invalid");
  });

  it("refuses another environment, and one that only looks like its own", async () => {
    for (const environment of [["production"], ["staging2"], ["Staging"]]) {
      expect(await outcome(await broker.mint({ environment }))).toBe("wrong_environment");
    }
    for (const environment of [[], "staging", undefined])
      expect(await outcome(await broker.mint({ environment }))).toBe("credential_invalid");
  });

  it("refuses at the very second of expiry, and a credential without one", async () => {
    const now = Math.floor(clock.now() / 1000);
    expect(await outcome(await broker.mint({ iat: now - 60, exp: now }))).toBe("credential_expired");
    expect(await outcome(await broker.mint({ exp: undefined }))).toBe("credential_invalid");
    expect(await outcome(await broker.mint({ exp: "9999999999" }))).toBe("credential_invalid");
  });

  it("refuses a credential from the future, and tolerates half a minute", async () => {
    const now = Math.floor(clock.now() / 1000);
    expect(await outcome(await broker.mint({ iat: now + 40, exp: now + 300 }))).toBe("credential_invalid");
    await expect(verifier.verify(await broker.mint({ iat: now + 20, exp: now + 300 }), wanted)).resolves.toBeDefined();
  });

  it.each([
    ["cnf", { jkt: "abc" }],
    ["act", { sub: "other" }],
    ["nbf", 1],
  ])("refuses the claim '%s', whose condition it does not check", async (claim, value) => {
    expect(await outcome(await broker.mint({ [claim]: value }))).toBe("credential_invalid");
  });

  it("refuses permissions on two upstreams, and on what is no resource", async () => {
    for (const identifiers of [["shop:volume/vol_1", "db:table/t"], ["shop"], ["shop:volume/../x"]]) {
      expect(await outcome(await broker.mint({ authorization_details: identifiers.map(detail) }))).toBe(
        "credential_invalid",
      );
    }
    expect(await outcome(await broker.mint({ authorization_details: [] }))).toBe("credential_invalid");
  });

  it("refuses a chain with something that is not a grant's id", async () => {
    for (const grants of [[], ["grt_1"], ["grt_0123456789abcdefghjkmnpqrs"]])
      expect(await outcome(await broker.mint({ grants }))).toBe("credential_invalid");
  });

  it("compares action and resource exactly, each pair for itself", async () => {
    const jwt = await broker.mint({
      authorization_details: [
        { type: "capability", actions: ["volume:read"], identifier: "shop:volume/vol_1" },
        { type: "capability", actions: ["volume:delete"], identifier: "shop:volume/vol_2" },
        { type: "capability", actions: ["volume:*"], identifier: "shop:volume/vol_3" },
      ],
    });
    await expect(
      verifier.verify(jwt, { action: "volume:delete", resource: "shop:volume/vol_2" }),
    ).resolves.toBeDefined();
    for (const demanded of [
      { action: "volume:delete", resource: "shop:volume/vol_1" },
      { action: "volume:read", resource: "shop:volume/vol_2" },
      { action: "volume:read", resource: "shop:volume/vol_3" },
      { action: "volume:read", resource: "shop:volume/vol_11" },
      { action: "volume:read", resource: "shop:volume" },
      { action: "VOLUME:READ", resource: "shop:volume/vol_1" },
    ]) {
      expect(await outcome(jwt, demanded)).toBe("permission_missing");
    }
  });

  it("refuses a text that is not the canonical one of the same bytes", async () => {
    const [header = "", payload = "", signature = ""] = (await broker.mint()).split(".");
    const last = signature.charCodeAt(signature.length - 1);
    // 64 bytes leave four spare bits in the last character: its neighbour decodes to the same signature.
    const twin = `${signature.slice(0, -1)}${String.fromCharCode(last + 1)}`;
    expect(Buffer.from(twin, "base64url").equals(Buffer.from(signature, "base64url"))).toBe(true);
    for (const changed of [
      twin,
      `${signature}=`,
      `${signature}==`,
      ` ${signature}`,
      `${signature}\n`,
      `${signature.slice(0, 9)} ${signature.slice(9)}`,
    ]) {
      expect(await outcome(`${header}.${payload}.${changed}`)).toBe("credential_invalid");
    }
    expect(await outcome(`${header}.${payload}.${signature}.`)).toBe("credential_invalid");
    expect(await outcome(`${header}.${payload}`)).toBe("credential_invalid");
  });

  it("refuses claims that are no JSON object in UTF-8, although the broker signed them", async () => {
    const claims = JSON.stringify(broker.claims());
    const sign = (payload: Uint8Array) =>
      new CompactSign(payload)
        .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: broker.credentialKey.kid })
        .sign(broker.credentialKey.privateKey);
    expect(await outcome(await sign(Buffer.from(claims)))).toBe("accepted");
    const withByte = Buffer.from(claims.replace("fix staging", "fix\u0000staging"));
    expect(withByte.includes(0)).toBe(true);
    for (const payload of [
      Buffer.from(claims.replace("fix staging", "fix ? staging").replace("?", "\u00ff"), "latin1"),
      withByte,
      Buffer.from(`\ufeff${claims}`),
      Buffer.from(`[${claims}]`),
      Buffer.from("null"),
      Buffer.from('"text"'),
      Buffer.from(""),
      Buffer.from(`${claims}x`),
    ]) {
      expect(await outcome(await sign(payload))).toBe("credential_invalid");
    }
  });

  it("refuses a megabyte", async () => {
    const huge = `${part({ alg: "ES256", typ: "at+jwt", kid: "k" })}.${"A".repeat(1_048_576)}.AAAA`;
    expect(await outcome(huge)).toBe("credential_invalid");
  });

  it("refuses what is larger than any credential, even signed by the broker", async () => {
    expect(await outcome(await broker.mint({ pad: "x".repeat(20_000) }))).toBe("accepted");
    expect(await outcome(await broker.mint({ pad: "x".repeat(30_000) }))).toBe("credential_invalid");
  });

  it("asks the broker for keys at most once in a pause, however many unknown ids come", async () => {
    const before = broker.hits.get("/.well-known/jwks.json") ?? 0;
    for (let i = 0; i < 50; i++)
      expect(await outcome(await broker.mint({}, { kid: `key_${i}` }))).toBe("credential_invalid");
    expect((broker.hits.get("/.well-known/jwks.json") ?? 0) - before).toBeLessThanOrEqual(1);
  });

  it("learns a key that the broker publishes later", async () => {
    const later = await makePair("key_later");
    broker.published.push(later.publicJwk);
    clock.advance(4000);
    await broker.heartbeat();
    await expect.poll(() => verifier.status().feedAgeMs).toBeLessThan(100);
    clock.advance(4000);
    await broker.heartbeat();
    await expect.poll(() => verifier.status().feedAgeMs).toBeLessThan(100);
    await expect(verifier.verify(await broker.mint({}, {}, later), wanted)).resolves.toBeDefined();
  });

  it("never puts the credential in an error", async () => {
    const jwt = await broker.mint({ environment: ["production"] });
    const error: unknown = await verifier.verify(jwt, wanted).catch((cause: unknown) => cause);
    for (const segment of jwt.split("."))
      expect(JSON.stringify(error, ["message", "cause", "stack"])).not.toContain(segment);
  });

  it("refuses a JWT that is signed by the broker for something else", async () => {
    const jwt = await new SignJWT({ iss: broker.url, number: 1, at: clock.now(), kind: "heartbeat" })
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: broker.credentialKey.kid })
      .sign(broker.credentialKey.privateKey);
    expect(await outcome(jwt)).toBe("wrong_audience");
  });
});
