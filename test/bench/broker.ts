// The broker under test: the built `valetkey serve` on a temporary folder with the sample's policy, one more role and
// fresh keys, on the default store. Nothing about it is tuned for the bench.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { type Child, findPort, startChild } from "./child.ts";
import { createAssertionSigner, renderRequest, type SignAssertion } from "./presign.ts";

export const AGENT = "coder";
export const RESOURCE = "shop-staging:volume/uploads";
export const ACTION = "volume:read";
export const AUDIENCE = "https://staging.shop.example";
export const ENVIRONMENT = "staging";
/** Grants of this role live for an hour, so that what one part mints is alive in the next. */
export const GRANT_TTL_SECONDS = 3600;

/** Without a limit a minute, which the load would use up. */
const SCOPES = {
  "bench.yaml": `kind: Role
name: bench-reader
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [${ACTION}]
    resources: { type: volume }
ttl: { default: 1h, max: 1h, credential: 5m }
`,
};

export interface BenchBroker extends Child {
  readonly url: string;
  readonly folder: TestFolder;
  /** `POST /v1/grants` by the agent, with proofs of their own. */
  requests(count: number, task?: (index: number) => string): Promise<readonly Buffer[]>;
  signer(name: string): Promise<SignAssertion>;
}

/** What several brokers are one by; the folder has the master key already. */
export interface SharedStore {
  readonly store: string;
  readonly issuer: string;
}

/** Brokers of a shared store never make one. */
export function writeMasterKey(folder: TestFolder): void {
  writeFileSync(join(folder.path, ".valetkey/master.key"), randomBytes(32), { mode: 0o600 });
}

export function makeBenchFolder(): Promise<TestFolder> {
  return makeTestFolder(SCOPES);
}

/** Starts a broker on a folder of `makeBenchFolder`; the folder is the caller's to remove. */
export async function startBroker(
  main: string,
  folder: TestFolder,
  options: { port?: number; nodeArgs?: readonly string[]; pollMs?: number; shared?: SharedStore } = {},
): Promise<BenchBroker> {
  const port = options.port ?? (await findPort());
  const { shared } = options;
  const child = await startChild([...(options.nodeArgs ?? []), main, "serve", "--json"], {
    path: "/readyz",
    port,
    cwd: folder.path,
    env: {
      VALETKEY_LISTEN: `127.0.0.1:${port}`,
      VALETKEY_STORE: shared?.store ?? `sqlite:${join(folder.path, ".valetkey/broker.db")}`,
      ...(shared === undefined ? {} : { VALETKEY_ISSUER: shared.issuer, VALETKEY_KNOWN_FILE: `known-${port}.json` }),
    },
    ...(options.pollMs === undefined ? {} : { pollMs: options.pollMs }),
  });
  const url = `http://127.0.0.1:${port}`;
  const issuer = shared?.issuer ?? url;
  const signer = (name: string): Promise<SignAssertion> => createAssertionSigner(name, issuer, folder.keyOf(name));
  return {
    ...child,
    url,
    folder,
    signer,
    requests: async (count, task = () => "measure a mint") => {
      const sign = await signer(AGENT);
      return Array.from({ length: count }, (_, index) => renderGrantRequest(sign(), task(index)));
    },
  };
}

function renderGrantRequest(proof: string, task: string): Buffer {
  const body = { task, role: "bench-reader", permissions: [{ action: ACTION, resource: RESOURCE }] };
  const headers = { Authorization: `Bearer ${proof}`, "Content-Type": "application/json" };
  return renderRequest("POST", "/v1/grants", headers, JSON.stringify(body));
}
