// The table of rooms: which may import which, which third-party package lives where, which file may do what only few
// may. A new edge is a decision: it is made here, in a line of its own.

/** Files directly under src are rooms of their own. An edge not named here does not exist. */
export const EDGES: Readonly<Record<string, readonly string[]>> = {
  core: [],
  api: ["core"],
  scopes: ["core", "api"],
  policy: ["core", "api", "scopes"],
  audit: ["core", "api"],
  identity: ["core", "api", "scopes", "audit"],
  secrets: ["core", "api", "scopes", "audit"],
  revocation: ["core", "api", "scopes", "policy", "audit"],
  // What other systems accept is worked out from policy's upstreams.
  credentials: ["core", "api", "scopes"],
  holds: ["core", "api", "scopes", "policy", "audit", "identity", "secrets"],
  grants: ["core", "api", "scopes", "policy", "audit", "identity", "secrets", "revocation", "holds", "credentials"],
  gateway: [
    "core",
    "api",
    "scopes",
    "policy",
    "audit",
    "identity",
    "secrets",
    "revocation",
    "holds",
    "credentials",
    "grants",
  ],
  // What brokers that share a store do together.
  replicas: ["core", "api", "scopes", "audit", "secrets", "revocation"],
  // Tells receivers of what the record says; sends by the gateway's one way out.
  webhooks: ["core", "api", "scopes", "audit", "secrets", "gateway"],
  store: ["core"],
  http: [
    "core",
    "api",
    "scopes",
    "policy",
    "audit",
    "identity",
    "secrets",
    "revocation",
    "holds",
    "credentials",
    "grants",
    "gateway",
    "version",
  ],
  sdk: ["core", "api"],
  cli: ["core", "api", "scopes", "policy", "audit", "sdk", "version"],
  version: [],
  broker: ["core", "scopes", "http"],
  config: ["core", "api"],
  compose: [
    "core",
    "api",
    "scopes",
    "policy",
    "audit",
    "identity",
    "secrets",
    "revocation",
    "holds",
    "credentials",
    "grants",
    "gateway",
    "webhooks",
    "replicas",
    "store",
    "http",
    "broker",
    "config",
    "version",
  ],
  // Copies whole stores, beside brokers: backup, restore, migrate.
  backup: ["core", "audit", "secrets", "revocation", "replicas", "store"],
  maintain: ["core", "config", "backup", "version"],
  main: ["core", "cli", "config", "compose", "maintain", "scopes", "version"],
};

/** Rooms whose ports the store implements. It sees their types, and of their files only `*-port.ts`. */
export const PORT_ROOMS: readonly string[] = [
  "audit",
  "identity",
  "secrets",
  "revocation",
  "holds",
  "grants",
  "gateway",
  "credentials",
  "webhooks",
  "replicas",
];

/** Third-party package to the rooms that may import it. Node's own modules are free. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@aws-sdk/client-iam": ["credentials"],
  "@aws-sdk/client-sts": ["credentials"],
  "@aws-sdk/credential-providers": ["credentials"],
  "@jmespath-community/jmespath": ["scopes"],
  // DSSE, by who signs a statement and by who verifies it.
  "@sigstore/core": ["holds", "sdk"],
  // Requests, as AWS's own clients send and sign them.
  "@smithy/core": ["credentials"],
  "@smithy/node-http-handler": ["credentials"],
  "@smithy/signature-v4": ["credentials"],
  canonicalize: ["core"],
  "cli-table3": ["cli"],
  // Tries again, and leaves alone what keeps failing.
  cockatiel: ["credentials"],
  commander: ["cli"],
  "eventsource-parser": ["sdk"],
  express: ["http"],
  // In cli: the demo's stand-in of a provider.
  graphql: ["scopes", "cli"],
  // In audit: checkpoints are verified offline, with nothing but the record and a public key.
  // The engine for several brokers, imported by it alone: see the restriction below.
  ioredis: ["store"],
  jose: ["identity", "secrets", "credentials", "sdk", "audit"],
  // Finds duplicate keys, which JSON.parse drops in silence.
  "jsonc-parser": ["gateway"],
  pg: ["credentials"],
  "prom-client": ["http"],
  standardwebhooks: ["webhooks"],
  undici: ["gateway"],
  yaml: ["scopes"],
  // Wherever something is parsed at an edge.
  zod: ["api", "scopes", "identity", "http", "sdk", "cli", "config"],
};

export interface Restriction {
  readonly rule: string;
  readonly pattern: RegExp;
  /** Paths, or folders that end in a slash, where the restriction applies. */
  readonly within: readonly string[];
  /** The files, or folders, that may. Each must exist and do so: an exception that nobody needs goes. */
  readonly allowed: readonly string[];
}

export const RESTRICTIONS: readonly Restriction[] = [
  {
    rule: "time",
    pattern: /\bDate\.now\b|\bperformance\.now\b|\bprocess\.hrtime\b|\bnew Date\b\s*(?:\(\s*\)|[^\s(])/,
    within: ["src/"],
    allowed: ["src/core/clock.ts"],
  },
  { rule: "math-random", pattern: /\bMath\.random\b/, within: ["src/"], allowed: [] },
  {
    rule: "randomness",
    pattern: /\b(?:randomBytes|randomUUID|randomInt|randomFill|randomFillSync|getRandomValues|generateKey\w*)\b/,
    within: ["src/"],
    allowed: [
      "src/core/ids.ts",
      "src/cli/key-pair.ts",
      // Jitter of what is tried again.
      "src/grants/end-credentials.ts",
      "src/credentials/scram.ts",
      // Jitter of reconnecting.
      "src/sdk/feed-follower.ts",
      "src/sdk/sign-proof.ts",
      "src/secrets/decoys.ts",
      "src/secrets/envelope.ts",
      "src/secrets/key-ring.ts",
      "src/secrets/master-key.ts",
      "src/secrets/sealer.ts",
    ],
  },
  {
    rule: "process-env",
    pattern:
      /\bprocess\.env\b|\bprocess\[["']env["']\]|\{[^}]*\benv\b[^}]*\}\s*(?:=\s*process\b|from\s*["'](?:node:)?process["'])/,
    within: ["src/"],
    allowed: ["src/main.ts", "src/sdk/environment.ts"],
  },
  {
    rule: "reveal",
    pattern: /\.reveal\s*\(|\breveal\s*[,}]/,
    within: ["src/"],
    allowed: [
      // The broker's password, to the driver.
      "src/credentials/systems.ts",
      "src/gateway/place-secret.ts",
      "src/gateway/scrub.ts",
      "src/secrets/sealer.ts",
      // The password, to the driver.
      "src/store/redis/connection.ts",
      "src/webhooks/sign-message.ts",
    ],
  },
  // Patterns of policy are compiled in core/pattern.ts alone.
  { rule: "raw-regexp", pattern: /\bRegExp\s*\(/, within: ["src/policy/", "src/scopes/"], allowed: [] },
  { rule: "sqlite", pattern: /["']node:sqlite["']/, within: ["src/"], allowed: ["src/store/sqlite/"] },
  { rule: "ioredis", pattern: /["']ioredis["']/, within: ["src/"], allowed: ["src/store/redis/"] },
  {
    rule: "ignored-check",
    pattern: /@ts-(?:ignore|nocheck|expect-error)|(?:oxlint|eslint)-disable/,
    within: ["src/", "test/"],
    allowed: [],
  },
];

export const MAX_LINES = 350;
