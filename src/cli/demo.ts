// `valetkey demo`: tells the story of the incident on a broker of its own, in a temporary folder, and checks each step.
// Touches nothing of the user's: own keys, own store, free ports; all of it is removed again, after a failure too.

import { appendFile, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { type ApiClient, createApiClient } from "../sdk/api-client.ts";
import { loadKey } from "../sdk/load-key.ts";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { openShop, type Shop } from "./demo-shop.ts";
import { CAST, playSteps } from "./demo-steps.ts";
import { createStory, type Story } from "./demo-story.ts";
import { STATE_FOLDER } from "./environment.ts";
import { EXIT, refused } from "./failure.ts";
import { makeSampleKeys, makeStateFolder } from "./init.ts";
import type { Surroundings } from "./surroundings.ts";
import { styled } from "./terminal.ts";

/** The sample that is shipped, seen from `src/cli` and from `dist/cli` alike. */
const SHIPPED_SCOPES = fileURLToPath(new URL("../../scopes", import.meta.url));
/** Whose key follows the feed for both deployments. */
const VERIFIER = "shop-verifier";

export function addDemoCommand(program: Command, context: Context): void {
  const command = program
    .command("demo")
    .description("tell the story on a broker of its own, in a few seconds; exit 0 when every step went as told")
    .action((options: OutputOptions) => runDemo(context, options));
  withExamples(withJsonOption(command), "valetkey demo");
}

async function runDemo(context: Context, options: OutputOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const quiet = options.json === true;
  const started = surroundings.clock.monotonic();
  const story = createStory(quiet ? null : terminal, surroundings.clock);
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "valetkey-demo-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    surroundings.onSignal(signal, () => void cleanup.disposeAsync().finally(() => surroundings.exit(EXIT.refused)));
  }
  if (!quiet) {
    terminal.line(
      "A coding agent on a staging task once found a root key and deleted a production database in nine seconds.",
    );
    terminal.line(
      styled("dim", "The same task again, with a broker. Services are the shop's own, made for this demo."),
    );
  }
  await play(surroundings, folder, story, cleanup);
  const failed = story.steps.filter((step) => !step.asTold).length;
  if (failed > 0) context.exitCode = EXIT.refused;
  const seconds = Math.round((surroundings.clock.monotonic() - started) / 100) / 10;
  if (quiet) return terminal.json({ ok: failed === 0, seconds, steps: story.steps });
  terminal.line();
  if (failed === 0) terminal.line(styled("green", `every step went as told, in ${seconds} s`));
  else terminal.line(styled("red", `${failed} of ${story.steps.length} steps did not go as told`));
}

async function play(
  surroundings: Surroundings,
  folder: string,
  story: Story,
  cleanup: AsyncDisposableStack,
): Promise<void> {
  const scopes = join(folder, "scopes");
  const keys = join(folder, STATE_FOLDER, "keys");
  await cp(SHIPPED_SCOPES, scopes, { recursive: true });
  await makeStateFolder(join(folder, STATE_FOLDER));
  await makeSampleKeys(scopes, keys);
  const keyFileOf = (name: string): string => join(keys, `${name}.jwk`);
  const log = join(folder, "broker.log");
  const env = { VALETKEY_LISTEN: "127.0.0.1:0" };
  const broker = await surroundings.openBroker(
    env,
    folder,
    (line) => void appendFile(log, `${line}\n`).catch(() => undefined),
  );
  cleanup.defer(() => broker.close());
  const set = broker.policy;
  checkCast(set);
  const shop = async (demanded: (typeof CAST)["write" | "productionWrite"]): Promise<Shop> => {
    const upstream = set.upstreams.get(set.resources.get(demanded.resource)?.upstream ?? "");
    if (upstream === undefined) throw refused(`the sample's policy has no ${demanded.resource}`);
    const { audience, environment } = upstream;
    const opened = await openShop({
      issuer: broker.url,
      audience,
      environment,
      keyFile: keyFileOf(VERIFIER),
      demanded,
    });
    cleanup.defer(() => opened.close());
    return opened;
  };
  const client = (name: string): ApiClient => {
    const { key } = loadKey(keyFileOf(name));
    return createApiClient({ url: broker.url, name, key, clock: surroundings.clock });
  };
  const staging = await shop(CAST.write);
  const production = await shop(CAST.productionWrite);
  const { agent, security } = CAST;
  await playSteps({
    story,
    clock: surroundings.clock,
    folder,
    staging,
    production,
    agent: client(agent),
    security: client(security),
    auditor: client(findAuditor(set)),
    destructiveRole: findRole(set, CAST.destroy.action),
  });
}

/** Throws where the policy lacks somebody or something that the story needs. */
function checkCast(set: ScopeSet): void {
  for (const name of [CAST.agent, CAST.security, VERIFIER])
    if (!set.principals.has(name)) throw refused(`the sample's policy has no ${name}`);
  for (const { resource } of [CAST.write, CAST.productionWrite, CAST.destroy]) {
    if (!set.resources.has(resource)) throw refused(`the sample's policy has no ${resource}`);
  }
}

function findAuditor(set: ScopeSet): string {
  for (const one of set.principals.values()) if (one.kind === "Person" && one.powers.has("audit")) return one.name;
  throw refused("the sample's policy has nobody with the power to audit");
}

function findRole(set: ScopeSet, action: string): string {
  for (const role of set.roles.values())
    if (role.permissions.some((permission) => permission.actions.has(action))) return role.name;
  throw refused(`the sample's policy has no role with ${action}`);
}
