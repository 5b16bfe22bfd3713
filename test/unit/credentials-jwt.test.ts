// The JWT that a service verifies by itself: what it says, and that it never outlives its grant.

import fc from "fast-check";
import type { JWTPayload } from "jose";
import { describe, expect, it } from "vitest";
import { CredentialClaims } from "../../src/api/claims.ts";
import { makeId } from "../../src/core/ids.ts";
import { createJwtMinter, expiryOf, type MintedFor } from "../../src/credentials/jwt.ts";

const NOW = 1_790_000_000_999;
const parent = makeId("grt", NOW - 5000, "0".repeat(16));
const grant: MintedFor = {
  id: makeId("grt", NOW, "0".repeat(16)),
  parents: [parent],
  agent: "coder",
  task: "T-1",
  role: "editor",
  permissions: [
    { action: "volume:read", resource: "shop:volume/1" },
    { action: "domain:write", resource: "shop:service/web" },
    { action: "volume:resize", resource: "shop:volume/1" },
  ],
  environments: ["staging"],
  crossingFrom: null,
  endsAt: NOW + 600_000,
  credentialTtlSeconds: 300,
};
const crd = makeId("crd", NOW, "0".repeat(16));

async function mint(change: Partial<MintedFor> = {}, now = NOW) {
  const signed: { type: string; claims: JWTPayload }[] = [];
  const minter = createJwtMinter({
    issuer: "https://valetkey.example",
    sign: async (type, claims) => {
      signed.push({ type, claims });
      return "signed";
    },
  });
  const credential = await minter.mint({ ...grant, ...change }, crd, "https://shop.example", now);
  return { credential, ...signed[0] };
}

describe("a credential", () => {
  it("is an RFC 9068 JWT for one audience, with its chain and the details of what it gives (rules 6 and 7)", async () => {
    const { credential, type, claims } = await mint();
    const iat = Math.floor(NOW / 1000);
    expect(type).toBe("at+jwt");
    expect(claims).toEqual({
      iss: "https://valetkey.example",
      sub: "coder",
      aud: "https://shop.example",
      client_id: "coder",
      iat,
      exp: iat + 300,
      jti: crd,
      authorization_details: [
        { type: "capability", actions: ["volume:read", "volume:resize"], identifier: "shop:volume/1" },
        { type: "capability", actions: ["domain:write"], identifier: "shop:service/web" },
      ],
      grants: [parent, grant.id],
      task: "T-1",
      role: "editor",
      environment: ["staging"],
    });
    expect(CredentialClaims.safeParse(claims).success).toBe(true);
    expect(credential).toEqual({
      id: crd,
      kind: "jwt",
      value: "signed",
      audience: "https://shop.example",
      expiresAt: new Date((iat + 300) * 1000).toISOString(),
    });
  });

  it("says where a crossing comes from, and only then", async () => {
    expect((await mint({ crossingFrom: ["production"] })).claims).toMatchObject({ from: ["production"] });
    expect((await mint()).claims).not.toHaveProperty("from");
  });

  it("ends with its grant at the latest, and lives no longer than the role's credential", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 86_400_000 }),
        fc.integer({ min: 1, max: 86_400 }),
        fc.integer({ min: 0, max: 999 }),
        (leftMs, credentialTtlSeconds, ms) => {
          const now = 1_790_000_000_000 + ms;
          const exp = expiryOf({ endsAt: now + leftMs, credentialTtlSeconds }, now);
          expect(exp * 1000).toBeLessThanOrEqual(now + leftMs);
          expect(exp - Math.floor(now / 1000)).toBeLessThanOrEqual(credentialTtlSeconds);
          expect(Number.isSafeInteger(exp)).toBe(true);
        },
      ),
    );
  });

  it("takes no claim from names that look like one", async () => {
    const { claims } = await mint({ task: '","aud":"https://evil.example', agent: "constructor" });
    expect(claims).toMatchObject({
      task: '","aud":"https://evil.example',
      aud: "https://shop.example",
      sub: "constructor",
    });
  });
});
