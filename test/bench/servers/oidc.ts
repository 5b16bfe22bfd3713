// Server under test: `oidc-provider` as an agent would use it: client credentials, `private_key_jwt`, JWT access tokens
// by ES256. Its own in-memory adapter, so nothing is durable and nothing is recorded.

import { createServer } from "node:http";
import Provider from "oidc-provider";
import { OIDC_AUDIENCE, OIDC_SCOPE, readFloorSetup } from "../floor-setup.ts";

const { caller, callerKey, signingKey } = readFloorSetup(process.env["FLOOR_SETUP"]);
const port = Number(process.env["PORT"]);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: caller,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: "ES256",
      jwks: { keys: [{ ...callerKey, alg: "ES256", use: "sig" }] },
    },
  ],
  clientAuthMethods: ["private_key_jwt"],
  enabledJWA: { clientAuthSigningAlgValues: ["ES256"] },
  jwks: { keys: [{ ...signingKey, alg: "ES256", use: "sig" }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: OIDC_SCOPE,
        audience: OIDC_AUDIENCE,
        accessTokenTTL: 300,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

createServer(provider.callback()).listen(port, "127.0.0.1");
