// Sets the demo's stage: a stand-in of the provider, and a broker of its own whose policy is the shipped one with the
// stand-in's address in place of the real one. Everything lives in one folder and on loopback, and ends with `cleanup`.

import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { GraphqlUpstream, ScopeSet } from "../scopes/scope-set.ts";
import { type ApiClient, createApiClient } from "../sdk/api-client.ts";
import { loadKey } from "../sdk/load-key.ts";
import { createKeySigner } from "../sdk/signer.ts";
import { createDemoAgent, type DemoAgent } from "./demo-agent.ts";
import { createStoryClock, type StoryClock } from "./demo-clock.ts";
import { createDemoPeople, type DemoPeople } from "./demo-people.ts";
import { openProvider, type Provider, PROVIDER_PATH } from "./demo-provider.ts";
import { PROVIDER } from "./demo-provider-account.ts";
// The policy as it is shipped, within the build: people edit scopes/, and the story is about what stood there at first.
import shippedPolicy from "./demo-policy.json" with { type: "json" };
import type { Reached } from "./demo-story.ts";
import { STATE_FOLDER } from "./environment.ts";
import { refused } from "./failure.ts";
import { makeSampleKeys, makeStateFolder } from "./init.ts";
import type { Surroundings } from "./surroundings.ts";

const { environments, services, volumes } = PROVIDER;

/** What the story is about; people, agent, upstream and roles stand in the sample's policy. */
export const CAST = {
  agent: "coder",
  /** Owns the agent. In the demo they may approve, so that it is this that keeps them from it. */
  admin: "admin-1",
  security: "security-1",
  approvers: ["oncall-1", "dba-1"],
  attestor: "backup-1",
  upstream: "railway",
  task: "fix staging credentials",
  write: { action: "domain:write", resource: `railway:service/${environments.staging}/${services.web}` },
  destroy: { action: "volume:delete", resource: resourceOf(volumes.production) },
  clean: { action: "volume:delete", resource: resourceOf(volumes.staging) },
} as const;

/** A volume, as the pack names it. */
export function resourceOf(volume: string): string {
  return `railway:volume/${volume}`;
}

/** It opens the stand-in, and nothing else. */
export const ROOT_KEY = "root-key-of-the-demo-that-no-agent-sees";

export interface Stage {
  readonly folder: string;
  readonly clock: StoryClock;
  readonly provider: Provider;
  readonly policy: ScopeSet;
  readonly agent: DemoAgent;
  readonly security: ApiClient;
  readonly people: DemoPeople;
  /** A second volume of staging, by the provider's id. */
  readonly spareVolume: string;
  /** Where the provider's API is at the gateway, and the same API by the provider's second host. */
  readonly target: string;
  readonly otherHost: string;
  countReached(): Reached;
}

export async function openStage(
  { openBroker, clock: realClock }: Pick<Surroundings, "openBroker" | "clock">,
  folder: string,
  cleanup: AsyncDisposableStack,
): Promise<Stage> {
  const clock = createStoryClock(realClock);
  const provider = await openProvider({ rootToken: ROOT_KEY });
  cleanup.defer(() => provider.close());
  const spareVolume = await addVolume(provider);
  const otherOrigin = provider.url.replace("127.0.0.1", "localhost");

  const scopes = join(folder, "scopes");
  for (const [path, text] of Object.entries(shippedPolicy)) {
    await mkdir(dirname(join(scopes, path)), { recursive: true });
    await writeFile(join(scopes, path), text);
  }
  const pack = join(scopes, "upstreams", `${CAST.upstream}.yaml`);
  await writeFile(pack, pointAt([provider.url, otherOrigin], await readFile(pack, "utf8")));
  const people = join(scopes, "people.yaml");
  await writeFile(people, letOwnerApprove(await readFile(people, "utf8")));
  await writeFile(join(scopes, "demo-volumes.yaml"), [volumes.staging, spareVolume].map(describeVolume).join("---\n"));
  const state = join(folder, STATE_FOLDER);
  await makeStateFolder(state);
  await makeSampleKeys(scopes, join(state, "keys"));

  const log = join(folder, "broker.log");
  const broker = await openBroker(
    { VALETKEY_LISTEN: "127.0.0.1:0" },
    folder,
    (line) => void appendFile(log, `${line}\n`).catch(() => undefined),
    clock,
  );
  cleanup.defer(() => broker.close());
  const upstream = findUpstream(broker.policy, provider);
  // The queries by which the broker, and nobody else here, asks for labels.
  const lookUps = new Set(
    upstream.resolvers.flatMap(({ request }) => (request.kind === "graphql" ? [request.query] : [])),
  );

  const keyFileOf = (name: string) => join(state, "keys", `${name}.jwk`);
  const credentials = (name: string) => ({ url: broker.url, name, clock, key: loadKey(keyFileOf(name)).key });
  const clientOf = (name: string) => createApiClient(credentials(name));
  await clientOf(CAST.admin).call("putSecret", {
    params: { name: upstream.credential.secret },
    body: { value: ROOT_KEY, origins: [provider.url, otherOrigin] },
  });
  const target = `/gateway/${CAST.upstream}${PROVIDER_PATH}`;
  return {
    folder,
    clock,
    provider,
    policy: broker.policy,
    agent: createDemoAgent({ ...credentials(CAST.agent), task: CAST.task, target }),
    security: clientOf(CAST.security),
    people: createDemoPeople({
      clock,
      issuer: broker.url,
      clientOf,
      signerOf: (name) => createKeySigner(keyFileOf(name)),
    }),
    spareVolume,
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

/** The owner of the agent has what it takes to approve. Throws where the sample has no place for that. */
function letOwnerApprove(people: string): string {
  const powers = new RegExp(`^(name: ${CAST.admin}\npowers: )\\[(.*)\\]$`, "m");
  if (!powers.test(people)) throw refused(`the sample's ${CAST.admin} is not as the demo knows them`);
  return people.replace(powers, "$1[$2, approve]\nteams: [oncall, dba]");
}

/** Where a volume lies, which the provider does not tell. */
function describeVolume(id: string): string {
  return `kind: Resource\nid: ${resourceOf(id)}\nlabels: { environment: staging, volume: ${id}, account: shop-main }\n`;
}

/** By the provider's own API, as its users do. Answers its id. */
async function addVolume({ url, account }: Provider): Promise<string> {
  const input = `projectId: "${PROVIDER.project}", environmentId: "${environments.staging}", serviceId: "${services.web}", mountPath: "/cache"`;
  await fetch(`${url}${PROVIDER_PATH}`, {
    method: "POST",
    headers: { authorization: `Bearer ${ROOT_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ query: `mutation { volumeCreate(input: { ${input} }) { id } }` }),
  });
  const id = [...account.volumes.keys()].at(-1);
  if (id === undefined || id === volumes.shared) throw refused("the stand-in made no volume");
  return id;
}

/** Throws where the policy lacks somebody whom the story needs, or leads elsewhere than to the stand-in. */
function findUpstream({ principals, upstreams }: ScopeSet, { url }: Provider): GraphqlUpstream {
  for (const name of [CAST.agent, CAST.admin, CAST.security, CAST.attestor, ...CAST.approvers]) {
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
