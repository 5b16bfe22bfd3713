// `valetkey serve`: runs a broker until it is told to stop. Prints one block when it is ready and says what to try.
// SIGHUP reloads the policy; the first SIGINT or SIGTERM closes in order, the second ends at once.

import { formatRedisAddress } from "../core/redis-address.ts";
import { access } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { STATE_FOLDER } from "./environment.ts";
import { EXIT, messageOf } from "./failure.ts";
import { summarise } from "./summary.ts";
import type { RunningBroker } from "./surroundings.ts";
import { styled } from "./terminal.ts";

const NEXT_COMMAND = 'request --as coder --task "fix staging credentials" domain:write shop-staging:service/web';

export function addServeCommand(program: Command, context: Context): void {
  const command = program
    .command("serve")
    .description("run the broker; configured by VALETKEY_ variables alone")
    .action((options: OutputOptions) => serve(context, options));
  withExamples(withJsonOption(command), "valetkey serve", "VALETKEY_LISTEN=127.0.0.1:9000 valetkey serve");
}

async function serve(context: Context, options: OutputOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const broker = await surroundings.openBroker(surroundings.env, surroundings.cwd, (line) => terminal.remark(line));
  const stopped = whenStopped(context, broker);
  surroundings.onSignal("SIGHUP", () => {
    broker.reload().catch((error: unknown) => terminal.error(`the policy was not reloaded: ${messageOf(error)}`));
  });
  if (options.json === true) terminal.json({ url: broker.url, ...broker.settings });
  else await printStart(context, broker);
  await stopped;
}

/** Settles when the broker is closed. Rejects when closing fails. */
function whenStopped(context: Context, broker: RunningBroker): Promise<void> {
  const { surroundings, terminal } = context;
  return new Promise((settle, fail) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) return surroundings.exit(EXIT.refused);
      stopping = true;
      terminal.remark("stopping; once more ends at once");
      broker.close().then(settle, fail);
    };
    surroundings.onSignal("SIGINT", stop);
    surroundings.onSignal("SIGTERM", stop);
  });
}

async function printStart(context: Context, broker: RunningBroker): Promise<void> {
  const { surroundings, terminal } = context;
  const { settings, policy } = broker;
  const show = (path: string): string => {
    const near = relative(surroundings.cwd, path);
    return near.startsWith("..") ? path : near;
  };
  terminal.line(styled("bold", "valetkey"), " is ready at ", styled("cyan", broker.url));
  const { store } = settings;
  const rows: [string, string][] = [
    ["  store", store.engine === "sqlite" ? show(store.file) : formatRedisAddress(store.address)],
  ];
  if (settings.issuer !== null && settings.issuer !== broker.url) rows.push(["  issuer", settings.issuer]);
  rows.push(["  scopes", `${show(settings.scopesFolder)}: ${summarise(policy)}`]);
  terminal.facts(rows);
  for (const warning of policy.warnings) terminal.line("  ", styled("yellow", "warning"), `: ${warning}`);
  const coder = join(surroundings.cwd, STATE_FOLDER, "keys", "coder.jwk");
  const triable = await access(coder).then(
    () => true,
    () => false,
  );
  if (triable) {
    terminal.line("try in a second terminal:");
    // Started by npm in a checkout, there is no `valetkey` on the path of the second terminal.
    const program = surroundings.env["npm_lifecycle_event"] === undefined ? "valetkey" : "npm run -s valetkey --";
    terminal.line("  ", styled("green", `${program} ${NEXT_COMMAND}`));
  }
}
