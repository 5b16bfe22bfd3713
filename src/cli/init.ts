// `valetkey init`: the state folder, and with --sample key pairs for the principals of a policy that has none yet.
// For trying out: real keys are made with `valetkey key new` where their owner is. Never overwrites anything.

import { chmod, mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { loadScopes } from "../scopes/load.ts";
import { formatProblem } from "../scopes/problem.ts";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { STATE_FOLDER } from "./environment.ts";
import { messageOf, wrongUse } from "./failure.ts";
import {
  makeKeyPair,
  publicFileOf,
  publicMembers,
  readPublicMembers,
  writePrivateKey,
  writePublicKey,
} from "./key-pair.ts";

interface InitOptions extends OutputOptions {
  readonly sample?: true;
}

export function addInitCommand(program: Command, context: Context): void {
  const command = program
    .command("init")
    .description("make the state folder; with --sample also key pairs for trying out")
    .option("--sample", "key pairs for every principal of the policy that has none yet")
    .action((options: InitOptions) => runInit(context, options));
  withExamples(withJsonOption(command), "valetkey init --sample && valetkey serve");
}

async function runInit(context: Context, options: InitOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const folder = join(surroundings.cwd, STATE_FOLDER);
  await makeStateFolder(folder);
  let made: readonly string[] = [];
  if (options.sample === true) {
    const { scopesFolder } = await surroundings.readSettings(surroundings.env, surroundings.cwd);
    made = await makeSampleKeys(scopesFolder, join(folder, "keys"));
  }
  if (options.json === true) return terminal.json({ folder, keys: made });
  if (options.sample !== true) {
    terminal.line(`${folder} is ready; make keys with: valetkey key new NAME`);
  } else if (made.length === 0) {
    terminal.line(`${folder} has every key already`);
  } else {
    terminal.line(`made ${made.length} key pairs in ${join(folder, "keys")}, for trying out: ${made.join(", ")}`);
  }
}

/** Made with mode 0700, and put right when it was there with more. Throws CommandFailure (exit 2). */
export async function makeStateFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
  } catch (error) {
    throw wrongUse(`cannot make ${folder}: ${messageOf(error)}`);
  }
}

/** A pair for every principal without a readable key; the names of those made. Throws CommandFailure (exit 2). */
export async function makeSampleKeys(scopesFolder: string, keysFolder: string): Promise<readonly string[]> {
  const loaded = await loadScopes(scopesFolder);
  if ("problems" in loaded) {
    throw wrongUse(
      `the policy in ${scopesFolder} cannot be read:\n${loaded.problems.slice(0, 5).map(formatProblem).join("\n")}`,
    );
  }
  const made: string[] = [];
  for (const principal of loaded.set.principals.values()) {
    if (principal.keys.length > 0) continue;
    const file = resolve(keysFolder, `${principal.name}.jwk`);
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    let key = await readPublicMembers(file);
    if (key === null) {
      const pair = makeKeyPair(principal.name, "ES256");
      await writePrivateKey(file, pair);
      key = publicMembers(pair);
      made.push(principal.name);
    }
    await writePublicKey(publicFileOf(file), key);
  }
  return made;
}
