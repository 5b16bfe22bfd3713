// `valetkey doctor`: looks at everything that a broker and its callers need, and says of each what to do.
// Reads only; the one thing that it can change is to accept the clock, or a store that went back, when a person asks it to.

import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { formatRedisAddress } from "../core/redis-address.ts";
import { loadScopes } from "../scopes/load.ts";
import { createApiClient } from "../sdk/api-client.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { readBrokerUrl, readClientEnvironment, STATE_FOLDER } from "./environment.ts";
import { EXIT, messageOf, systemCodeOf } from "./failure.ts";
import { summarise } from "./summary.ts";
import type { BrokerSettings } from "./surroundings.ts";
import { type Style, styled } from "./terminal.ts";

type State = "ok" | "warn" | "fail";

interface Finding {
  readonly name: string;
  readonly state: State;
  readonly message: string;
}

interface DoctorOptions extends BrokerOptions {
  readonly health?: true;
  readonly acknowledgeClock?: true;
  readonly acknowledgeStore?: true;
  readonly reason?: string;
}

const STYLES = { ok: "green", warn: "yellow", fail: "red" } as const satisfies Record<State, Style>;
const OTHERS_MAY_ACCESS = 0o077;

export function addDoctorCommand(program: Command, context: Context): void {
  const command = program
    .command("doctor")
    .description("check configuration, policy, files and the broker; say what to do")
    .option("--health", "only ask this machine's broker whether it is alive; for container health checks")
    .option("--acknowledge-clock", "accept the wall clock after it jumped, so that the broker grants again")
    .option("--acknowledge-store", "accept that the store has lost some of its past: everything before is void")
    .option("--reason <text>", "with --acknowledge-store: why, for the record")
    .action((options: DoctorOptions) => runDoctor(context, options));
  withExamples(
    withBrokerOptions(command),
    "valetkey doctor",
    "valetkey doctor --as admin-1",
    "valetkey doctor --acknowledge-clock --as admin-1",
    'valetkey doctor --acknowledge-store --reason "restored the backup of 3 May" --as admin-1',
  );
}

async function runDoctor(context: Context, options: DoctorOptions): Promise<void> {
  const { terminal } = context;
  if (options.acknowledgeClock === true) {
    const answer = await connect(context.surroundings, options).call("acknowledgeClock");
    if (options.json === true) return terminal.json(answer);
    return terminal.line(
      answer.acknowledged
        ? `the clock is accepted: ${answer.now}`
        : `nothing to accept: the clock is trusted (${answer.now})`,
    );
  }
  if (options.acknowledgeStore === true) {
    const { reason = "accepted with valetkey doctor" } = options;
    const answer = await connect(context.surroundings, options).call("acknowledgeStore", { body: { reason } });
    if (options.json === true) return terminal.json(answer);
    terminal.remark("proofs of identity are refused for up to 30 s; then agents ask again");
    return terminal.line(
      `the store is accepted at entry ${answer.found.seq} (entry ${answer.known.seq} was known); everything before is void by ${answer.revocation}`,
    );
  }
  const findings = await examine(context, options);
  if (findings.some((finding) => finding.state === "fail")) context.exitCode = EXIT.refused;
  if (options.json === true) return terminal.json({ ok: context.exitCode === EXIT.done, findings });
  terminal.table(
    ["CHECK", "STATE", "FOUND"],
    findings.map(({ name, state, message }) => [name, styled(STYLES[state], state), message]),
  );
}

async function examine(context: Context, options: DoctorOptions): Promise<readonly Finding[]> {
  const { surroundings } = context;
  const findings: Finding[] = [{ name: "node", state: "ok", message: `version ${surroundings.nodeVersion}` }];
  try {
    const settings = await surroundings.readSettings(surroundings.env, surroundings.cwd);
    findings.push({ name: "configuration", state: "ok", message: "every VALETKEY_ variable is understood" });
    findings.push(await examineScopes(settings));
    const { store } = settings;
    if (store.engine === "sqlite") findings.push(await examineFolder("store", dirname(store.file)));
    else findings.push(await examineServer(context, formatRedisAddress(store.address)));
    findings.push(await examineSecretFile("master key", settings.masterKeyFile));
  } catch (error) {
    findings.push({ name: "configuration", state: "fail", message: messageOf(error) });
  }
  findings.push(await examineKeys(join(surroundings.cwd, STATE_FOLDER, "keys")));
  findings.push(await examineBroker(context, options));
  if (options.as !== undefined || options.key !== undefined)
    findings.push(...(await examineUpstreams(context, options)));
  return findings;
}

async function examineScopes(settings: BrokerSettings): Promise<Finding> {
  const name = "scopes";
  const loaded = await loadScopes(settings.scopesFolder);
  if ("problems" in loaded) {
    return {
      name,
      state: "fail",
      message: `${loaded.problems.length} problems; see them with: valetkey scopes check ${settings.scopesFolder}`,
    };
  }
  const { scopesDigest } = settings;
  if (scopesDigest !== null && scopesDigest !== loaded.set.digest) {
    const message = `VALETKEY_SCOPES_DIGEST demands ${scopesDigest}, the folder has ${loaded.set.digest}`;
    return { name, state: "fail", message };
  }
  const [warning, ...more] = loaded.set.warnings;
  if (warning === undefined) return { name, state: "ok", message: summarise(loaded.set) };
  return {
    name,
    state: "warn",
    message: more.length === 0 ? warning : `${warning}\nand ${more.length} more: valetkey scopes check`,
  };
}

/** What a broker would say of it at its start. */
async function examineServer({ surroundings }: Context, address: string): Promise<Finding> {
  const name = "store";
  try {
    const { problems, warnings } = await surroundings.examineStore(surroundings.env, surroundings.cwd);
    if (problems.length > 0) return { name, state: "fail", message: problems.join("\n") };
    if (warnings.length > 0) return { name, state: "warn", message: warnings.join("\n") };
    return { name, state: "ok", message: `${address} keeps what it acknowledges` };
  } catch (error) {
    return { name, state: "fail", message: messageOf(error) };
  }
}

async function examineFolder(name: string, folder: string): Promise<Finding> {
  const mode = await modeOf(folder);
  if (mode === null) return { name, state: "warn", message: `${folder} does not exist yet; the first start makes it` };
  if ((mode & OTHERS_MAY_ACCESS) === 0) return { name, state: "ok", message: folder };
  return { name, state: "fail", message: `${folder} is open to other users of this machine: chmod 700 ${folder}` };
}

async function examineSecretFile(name: string, file: string): Promise<Finding> {
  const mode = await modeOf(file);
  if (mode === null) return { name, state: "warn", message: `${file} does not exist yet; the first start makes it` };
  if ((mode & OTHERS_MAY_ACCESS) === 0) return { name, state: "ok", message: file };
  return { name, state: "fail", message: `${file} can be read by other users of this machine: chmod 600 ${file}` };
}

async function examineKeys(folder: string): Promise<Finding> {
  const name = "keys";
  const files = await readdir(folder).catch(() => []);
  const secret = files.filter((file) => file.endsWith(".jwk") && !file.endsWith(".pub.jwk"));
  const open: string[] = [];
  for (const file of secret) if (((await modeOf(join(folder, file))) ?? 0) & OTHERS_MAY_ACCESS) open.push(file);
  if (open.length > 0) {
    return {
      name,
      state: "fail",
      message: `other users can read ${open.slice(0, 3).join(", ")}: chmod 600 ${folder}/*.jwk`,
    };
  }
  if (secret.length === 0)
    return { name, state: "warn", message: `no private keys in ${folder}; make one with: valetkey key new NAME` };
  return { name, state: "ok", message: `${secret.length} private keys, readable by their owner alone` };
}

async function examineBroker(context: Context, options: DoctorOptions): Promise<Finding> {
  const name = "broker";
  const { env, cwd, clock } = context.surroundings;
  try {
    const url = options.url === undefined ? readClientEnvironment(env, cwd).url : readBrokerUrl(options.url, "--url");
    const answer = await createApiClient({ url, name: null, key: null, clock }).call("ready");
    const { notes = [] } = answer;
    if (answer.ready && notes.length > 0)
      return { name, state: "warn", message: `${url} is ready; ${notes.join("; ")}` };
    if (answer.ready) return { name, state: "ok", message: `${url} is ready` };
    return { name, state: "fail", message: `${url} runs and is not ready: ${answer.problems.join("; ")}` };
  } catch (error) {
    return { name, state: "fail", message: `${messageOf(error)}; start it with: valetkey serve` };
  }
}

/** Systems that take credentials of their own, as the broker sees them now. It tells who proves to be somebody. */
async function examineUpstreams(context: Context, options: DoctorOptions): Promise<readonly Finding[]> {
  try {
    const { upstreams } = await connect(context.surroundings, options).call("listUpstreams");
    return upstreams.map(({ name, kind, circuit, faults, notes }): Finding => {
      const found = { name: `upstream ${name}` };
      if (faults === null) return { ...found, state: "warn", message: `${kind}: the broker has not looked at it yet` };
      const failing = circuit === "closed" ? [] : ["it keeps failing, and is left alone for some seconds at a time"];
      const wrong = [...failing, ...faults];
      if (wrong.length > 0) return { ...found, state: "fail", message: wrong.join("\n") };
      if (notes.length > 0) return { ...found, state: "warn", message: notes.join("\n") };
      return { ...found, state: "ok", message: `${kind}: the broker can give and end what its templates name` };
    });
  } catch (error) {
    return [{ name: "upstreams", state: "fail", message: messageOf(error) }];
  }
}

/** The permission bits, or null where there is nothing. Windows has none: there nothing is found to be open. */
async function modeOf(path: string): Promise<number | null> {
  try {
    const { mode } = await stat(path);
    return mode & 0o777;
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return null;
    throw error;
  }
}
