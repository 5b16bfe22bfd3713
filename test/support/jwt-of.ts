// The credential of a grant on a service or behind the gateway, in tests: another kind is a test's own mistake.

import type { Credential, GrantAnswer, JwtCredential } from "../../src/api/grants.ts";

export function jwtOf(credential: Credential): JwtCredential {
  if (credential.kind !== "jwt") throw new Error(`expected a JWT, found a credential of kind ${credential.kind}`);
  return credential;
}

export type Granted = GrantAnswer & { readonly credential: JwtCredential };

/** An answer with a JWT, and not a hold or a decision. */
export function grantedOf(answer: GrantAnswer | object): Granted {
  if (!("credential" in answer)) throw new Error("no grant was given");
  return { ...answer, credential: jwtOf(answer.credential) };
}
