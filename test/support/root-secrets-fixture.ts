// Root secrets on a port in memory, and policies with gateway upstreams that use them.

import { newId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import type { GatewayUpstream, ScopeSet } from "../../src/scopes/scope-set.ts";
import { createRootSecrets, type SecretCall } from "../../src/secrets/root-secrets.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { createSecretReferences, type ListedReferences } from "../../src/secrets/secret-references.ts";
import { createMemorySecrets } from "./memory-secrets.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";

export const NOW = 1_790_000_000_000;
export const sealer = createSealer(new Secret(Buffer.alloc(32, 7)));
export const NONE_LISTED: ListedReferences = { env: [], files: null, ownFolders: [] };

export function makeGatewayUpstream(
  name: string,
  secret: string,
  origins: readonly [string, ...string[]],
  operationOrigins: readonly string[] = [],
): GatewayUpstream {
  return {
    name,
    type: "http",
    actions: new Map(),
    origins,
    credential: { secret, place: { kind: "header", name: "authorization", prefix: "Bearer " } },
    credentialHeaders: ["authorization"],
    addresses: [],
    ca: null,
    limits: { requestBytes: 1024, responseBytes: 1024, timeoutMs: 1000 },
    environmentIds: new Map(),
    resolvers: [],
    operations: {
      all: operationOrigins.map((origin) => ({
        name: "GET /",
        origin,
        query: new Set<string>(),
        headers: new Set<string>(),
        body: "none" as const,
        idempotent: false,
        meaning: { judge: () => ({ fault: "is not judged here" }), actions: [] },
      })),
      find: () => null,
    },
  };
}

export function policyOf(...upstreams: readonly GatewayUpstream[]): ScopeSet {
  return { ...makeScopeSet({}), upstreams: new Map(upstreams.map((upstream) => [upstream.name, upstream])) };
}

let calls = 0;

export function personCall(): SecretCall {
  return {
    person: "admin-1",
    proof: { key: `admin-1 ${++calls}`, issuedAt: NOW, forgetAt: NOW },
    request: newId("req", NOW),
  };
}

export async function openRootSecrets({
  port = createMemorySecrets(),
  policy = policyOf(),
  listed = NONE_LISTED,
  masterKey = 7,
}: {
  port?: ReturnType<typeof createMemorySecrets>;
  policy?: ScopeSet;
  listed?: ListedReferences;
  masterKey?: number;
} = {}) {
  const time = { policy };
  const secrets = await createRootSecrets({
    port,
    sealer: createSealer(new Secret(Buffer.alloc(32, masterKey))),
    at: () => NOW,
    policy: () => time.policy,
    references: createSecretReferences(listed),
  });
  return { port, secrets, time };
}
