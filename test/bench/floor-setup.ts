// What the bench tells the servers that are not the broker, and what all of them sign: the size of it is equal.

import type { JWK } from "jose";

export const OIDC_AUDIENCE = "https://staging.shop.example";
export const OIDC_SCOPE = "volume:read";

export interface FloorSetup {
  readonly issuer: string;
  readonly caller: string;
  readonly callerKey: JWK;
  readonly signingKey: JWK;
}

export function readFloorSetup(text: string | undefined): FloorSetup {
  if (text === undefined) throw new Error("expected the set-up in FLOOR_SETUP: run.ts starts this server");
  // `mint.ts` wrote it with `JSON.stringify` from this type.
  return JSON.parse(text) as FloorSetup;
}

/** As many claims as the broker's credential has. */
export function floorClaims(issuer: string, caller: string): Record<string, unknown> {
  const iat = Math.floor(Date.now() / 1000);
  return {
    iss: issuer,
    sub: caller,
    aud: OIDC_AUDIENCE,
    client_id: caller,
    iat,
    exp: iat + 300,
    jti: "crd_01JD0000000000000000000000",
    authorization_details: [{ type: "capability", actions: [OIDC_SCOPE], identifier: "shop-staging:volume/uploads" }],
    grants: ["grt_01JD0000000000000000000000"],
    task: "measure a mint",
    role: "bench-reader",
    environment: ["staging"],
  };
}
