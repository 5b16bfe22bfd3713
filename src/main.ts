#!/usr/bin/env node
// The `valetkey` command. Checks Node's version before it imports anything else, so that an old one gets one line and
// not a syntax error, and hands the CLI what it may touch: the only place where `process` and the broker's parts meet it.

import type { BrokerSettings, Surroundings, Variables } from "./cli/surroundings.ts";

const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  process.stderr.write(
    `valetkey: Node ${NEEDED_NODE} or later is needed, this is ${process.versions.node}; see https://nodejs.org\n`,
  );
  process.exitCode = 2;
} else {
  process.exitCode = await main();
}

async function main(): Promise<number> {
  const { runProgram } = await import("./cli/program.ts");
  const { VERSION } = await import("./version.ts");
  const { systemClock } = await import("./core/clock.ts");
  // Whoever reads the output may stop early (`| head`); that is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  const surroundings: Surroundings = {
    argv: process.argv.slice(2),
    env: process.env,
    cwd: process.cwd(),
    version: VERSION,
    nodeVersion: process.versions.node,
    // Looked up when it is needed: touching it opens it.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    clock: systemClock,
    readSettings,
    async examineStore(env, cwd) {
      const { store } = await readSettings(env, cwd);
      const { examineStore } = await import("./compose.ts");
      return examineStore(store);
    },
    async openBroker(env, cwd, log, clock) {
      const settings = await readSettings(env, cwd);
      // Parsing has its own thread: it works while this one loads the broker's parts.
      const { loadScopes } = await import("./scopes/load.ts");
      const loading = loadScopes(settings.scopesFolder);
      const { startBroker } = await import("./compose.ts");
      const broker = await startBroker(settings, {
        log: (level, message) => log(`${level}: ${message}`),
        loading,
        ...(clock === undefined ? {} : { clock }),
      });
      return {
        url: broker.url,
        settings,
        policy: broker.policy,
        close: () => broker.close(),
        reload: () => broker.reload(),
      };
    },
    maintenance: async () => (await import("./maintain.ts")).maintenance,
    onSignal: (signal, handle) => process.on(signal, handle),
    exit: (code) => process.exit(code),
  };
  return runProgram(surroundings);
}

async function readSettings(env: Variables, cwd: string) {
  const { ConfigError, readServerConfig } = await import("./config.ts");
  const { wrongUse } = await import("./cli/failure.ts");
  try {
    return readServerConfig(env, cwd) satisfies BrokerSettings;
  } catch (error) {
    if (error instanceof ConfigError) throw wrongUse(error.problems.join("\n"));
    throw error;
  }
}
