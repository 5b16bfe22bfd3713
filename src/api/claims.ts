// The claims of the JWTs that the broker mints (RFC 9068, with RFC 9396 authorization details), for minter and verifier.

import * as z from "zod";

/** RFC 9068 section 2.1. */
export const CREDENTIAL_TYPE = "at+jwt";
export const CREDENTIAL_ALGORITHM = "ES256";
export const DETAIL_TYPE = "capability";

export const CredentialClaims = z.object({
  iss: z.string(),
  sub: z.string(),
  aud: z.string(),
  client_id: z.string(),
  iat: z.int(),
  exp: z.int(),
  jti: z.string().startsWith("crd_"),
  authorization_details: z
    .array(z.object({ type: z.literal(DETAIL_TYPE), actions: z.array(z.string()).min(1), identifier: z.string() }))
    .min(1),
  /** Ids of the grant and its parents, oldest first. */
  grants: z.array(z.string().startsWith("grt_")).min(1),
  task: z.string(),
  role: z.string(),
  environment: z.array(z.string()).min(1),
  /** The agent's own environments, when the role crosses. */
  from: z.array(z.string()).optional(),
});
export type CredentialClaims = z.infer<typeof CredentialClaims>;
