// Sets the demo's stage: a stand-in of the provider, and a broker of its own whose policy is the shipped one with the
// stand-in's address in place of the real one. Everything lives in one folder and on loopback, and ends with `cleanup`.

import { appendFile, cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { GraphqlUpstream, ScopeSet } from "../scopes/scope-set.ts";
import { type ApiClient, createApiClient } from "../sdk/api-client.ts";
import { loadKey } from "../sdk/load-key.ts";
import { createDemoAgent, type DemoAgent } from "./demo-agent.ts";
import { openProvider, type Provider, PROVIDER_PATH } from "./demo-provider.ts";
import { PROVIDER } from "./demo-provider-account.ts";
import type { Reached } from "./demo-story.ts";
import { STATE_FOLDER } from "./environment.ts";
import { refused } from "./failure.ts";
import { makeSampleKeys, makeStateFolder } from "./init.ts";
import type { Surroundings } from "./surroundings.ts";

const { environments, services, volumes } = PROVIDER;

/** What the story is about; people, agent, upstream and roles stand in the sample's policy. */
export const CAST = {
  agent: "coder",
  admin: "admin-1",
  security: "security-1",
  upstream: "railway",
  task: "fix staging credentials",
  write: { action: "domain:write", resource: `railway:service/${environments.staging}/${services.web}` },
  destroy: { action: "volume:delete", resource: `railway:volume/${volumes.production}` },
} as const;

/** It opens the stand-in, and nothing else. */
export const ROOT_KEY = "root-key-of-the-demo-that-no-agent-sees";

export interface Stage {
  readonly folder: string;
  readonly provider: Provider;
  readonly agent: DemoAgent;
  readonly security: ApiClient;
  /** Where the provider's API is at the gateway, and the same API by the provider's second host. */
  readonly target: string;
  readonly otherHost: string;
  countReached(): Reached;
}

/** The sample that is shipped, seen from `src/cli` and from `dist/cli` alike. */
const SHIPPED_SCOPES = fileURLToPath(new URL("../../scopes", import.meta.url));

export async function openStage(
  { openBroker, clock }: Pick<Surroundings, "openBroker" | "clock">,
  folder: string,
  cleanup: AsyncDisposableStack,
): Promise<Stage> {
  const provider = await openProvider({ rootToken: ROOT_KEY });
  cleanup.defer(() => provider.close());
  const otherOrigin = provider.url.replace("127.0.0.1", "localhost");

  const scopes = join(folder, "scopes");
  await cp(SHIPPED_SCOPES, scopes, { recursive: true });
  const pack = join(scopes, "upstreams", `${CAST.upstream}.yaml`);
  await writeFile(pack, pointAt([provider.url, otherOrigin], await readFile(pack, "utf8")));
  const state = join(folder, STATE_FOLDER);
  await makeStateFolder(state);
  await makeSampleKeys(scopes, join(state, "keys"));

  const log = join(folder, "broker.log");
  const broker = await openBroker(
    { VALETKEY_LISTEN: "127.0.0.1:0" },
    folder,
    (line) => void appendFile(log, `${line}\n`).catch(() => undefined),
  );
  cleanup.defer(() => broker.close());
  const upstream = findUpstream(broker.policy, provider);
  // The queries by which the broker, and nobody else here, asks for labels.
  const lookUps = new Set(
    upstream.resolvers.flatMap(({ request }) => (request.kind === "graphql" ? [request.query] : [])),
  );

  const credentials = (name: string) => {
    return { url: broker.url, name, clock, key: loadKey(join(state, "keys", `${name}.jwk`)).key };
  };
  await createApiClient(credentials(CAST.admin)).call("putSecret", {
    params: { name: upstream.credential.secret },
    body: { value: ROOT_KEY, origins: [provider.url, otherOrigin] },
  });
  const target = `/gateway/${CAST.upstream}${PROVIDER_PATH}`;
  return {
    folder,
    provider,
    agent: createDemoAgent({ ...credentials(CAST.agent), task: CAST.task, target }),
    security: createApiClient(credentials(CAST.security)),
    target,
    otherHost: `${otherOrigin}${PROVIDER_PATH}`,
    countReached() {
      const asked = provider.calls.filter(({ body }) => lookUps.has(queryOf(body))).length;
      return { calls: provider.calls.length - asked, lookUps: asked };
    },
  };
}

/** The pack with the stand-in's hosts and environments. Throws where the shipped one has no place for them. */
function pointAt([first, second]: readonly [string, string], pack: string): string {
  const edits = [
    [/^origins: .*$/m, `origins: [${first}, ${second}]\naddresses: [127.0.0.1/32]`],
    [/^ {2}\S+: staging$/m, `  ${environments.staging}: staging`],
    [/^ {2}\S+: production$/m, `  ${environments.production}: production`],
  ] as const;
  return edits.reduce((text, [pattern, replacement]) => {
    if (!pattern.test(text)) throw refused(`the pack of ${CAST.upstream} is not as the demo knows it`);
    return text.replace(pattern, replacement);
  }, pack);
}

/** Throws where the policy lacks somebody whom the story needs, or leads elsewhere than to the stand-in. */
function findUpstream({ principals, upstreams }: ScopeSet, { url }: Provider): GraphqlUpstream {
  for (const name of [CAST.agent, CAST.admin, CAST.security]) {
    if (!principals.has(name)) throw refused(`the sample's policy has no ${name}`);
  }
  const upstream = upstreams.get(CAST.upstream);
  if (upstream?.type === "graphql" && upstream.origins[0] === url) return upstream;
  throw refused(`the sample's ${CAST.upstream} does not lead to the stand-in`);
}

function queryOf(body: string): string {
  try {
    const asked: unknown = JSON.parse(body);
    return typeof asked === "object" && asked !== null && "query" in asked ? String(asked.query) : "";
  } catch {
    return "";
  }
}
