// A small policy for CLI tests: two environments, one agent of staging, people, a service that may follow the feed.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const NAMES = ["coder", "security-1", "auditor-1", "admin-1", "verifier-1"] as const;

const key = (name: (typeof NAMES)[number]): string => `keys: [{ file: ../.valetkey/keys/${name}.pub.jwk }]`;

const POLICY = `kind: Environment
name: staging
protected: false
---
kind: Environment
name: production
---
# Tests that poll are refused often; strikes have tests of their own.
kind: Settings
strikes: { refusals: 1000, window: 60s }
---
kind: Agent
name: coder
owner: admin-1
labels: { environment: staging, team: web }
${key("coder")}
---
kind: Person
name: security-1
powers: [revoke]
${key("security-1")}
---
kind: Person
name: auditor-1
powers: [audit]
${key("auditor-1")}
---
kind: Person
name: admin-1
powers: [administer]
${key("admin-1")}
---
kind: Service
name: verifier-1
${key("verifier-1")}
---
kind: Upstream
name: shop-staging
type: service
audience: https://staging.shop.example
environment: staging
actions:
  domain:write: { risk: write }
---
kind: Upstream
name: shop-production
type: service
audience: https://shop.example
environment: production
actions:
  volume:delete: { risk: destructive }
---
kind: Resource
id: shop-staging:service/web
labels: { environment: staging }
---
kind: Resource
id: shop-production:volume/database
labels: { environment: production }
---
kind: Role
name: domain-editor
agents: { team: web }
environments: [staging]
permissions:
  - actions: [domain:write]
    resources: { type: service }
ttl: { default: 10m, max: 30m, credential: 5m }
`;

/** Writes `scopes/` into a folder; answers who is in it. */
export async function writePolicy(folder: string): Promise<typeof NAMES> {
  await mkdir(join(folder, "scopes"), { recursive: true });
  await writeFile(join(folder, "scopes", "policy.yaml"), POLICY);
  return NAMES;
}
