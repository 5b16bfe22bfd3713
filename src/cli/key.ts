// `valetkey key`: a caller's own key pair, keys of the SSH agent, the master key, the broker's signing keys.
// The private half goes to a file of mode 0600 and nowhere else; stdout has the YAML that the policy needs.

import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { isName } from "../core/names.ts";
import { connect } from "./connect.ts";
import {
  type BrokerOptions,
  type Context,
  type OutputOptions,
  withBrokerOptions,
  withExamples,
  withJsonOption,
} from "./context.ts";
import { STATE_FOLDER } from "./environment.ts";
import { openSshAgent } from "./ssh-key.ts";
import { wrongUse } from "./failure.ts";
import {
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  makeKeyPair,
  publicFileOf,
  type PublicMembers,
  publicMembers,
  writeMasterKey,
  writePrivateKey,
  writePublicKey,
} from "./key-pair.ts";

const KINDS = ["agent", "person", "service"] as const;

interface NewOptions extends OutputOptions {
  readonly alg: KeyAlgorithm;
  readonly kind: (typeof KINDS)[number];
  readonly out?: string;
}

interface MasterOptions extends OutputOptions {
  readonly out?: string;
  readonly ifMissing?: true;
}

interface RotateOptions extends BrokerOptions {
  readonly compromised?: true;
}

export function addKeyCommands(program: Command, context: Context): void {
  const key = program.command("key").description("make key pairs, rotate the broker's");
  withExamples(key, "valetkey key new coder", "valetkey key ssh", "valetkey key rotate --as admin-1");
  const fresh = key
    .command("new")
    .description("make a key pair for an agent, a person or a service")
    .argument("<name>", "the name that the key proves")
    .addOption(new Option("--alg <algorithm>", "signature algorithm").choices(KEY_ALGORITHMS).default("ES256"))
    .addOption(new Option("--kind <kind>", "what the name is").choices(KINDS).default("agent"))
    .option("--out <file>", `private JWK to write (${STATE_FOLDER}/keys/NAME.jwk)`)
    .action((name: string, options: NewOptions) => makeKey(context, name, options));
  withExamples(
    withJsonOption(fresh),
    "valetkey key new coder",
    "valetkey key new dba-1 --kind person --alg EdDSA --out ~/dba-1.jwk",
  );

  const ssh = key
    .command("ssh")
    .description("list the keys of the SSH agent, and what the policy needs of those that can sign here")
    .action((options: OutputOptions) => listSshKeys(context, options));
  withExamples(withJsonOption(ssh), "valetkey key ssh", "valetkey holds --as dba-1 --ssh-key ~/.ssh/id_ed25519.pub");

  const master = key
    .command("master")
    .description("make the master key that brokers on one Redis share; with the default store the first start makes it")
    .option("--out <file>", "file to write, never overwritten (VALETKEY_MASTER_KEY_FILE)")
    .option("--if-missing", "do nothing where the file is there")
    .action((options: MasterOptions) => makeMasterKey(context, options));
  withExamples(withJsonOption(master), "valetkey key master", "valetkey key master --out /etc/valetkey/master.key");

  const rotate = key
    .command("rotate")
    .description("let the broker sign with a new key; the old one is published until what it signed has expired")
    .option("--compromised", "verifiers refuse at once what the old key signed")
    .action((options: RotateOptions) => rotateKeys(context, options));
  withExamples(
    withBrokerOptions(rotate),
    "valetkey key rotate --as admin-1",
    "valetkey key rotate --as admin-1 --compromised",
  );
}

async function makeKey(context: Context, name: string, options: NewOptions): Promise<void> {
  const { surroundings, terminal } = context;
  if (!isName(name)) throw wrongUse("expected a name: lower-case letters, digits, '.', '_' or '-', at most 64");
  const file = resolve(surroundings.cwd, options.out ?? `${STATE_FOLDER}/keys/${name}.jwk`);
  const publicFile = publicFileOf(file);
  const pair = makeKeyPair(name, options.alg);
  const key = publicMembers(pair);
  await writePrivateKey(file, pair);
  await writePublicKey(publicFile, key);
  if (options.json === true) return terminal.json({ name, algorithm: options.alg, file, publicFile, publicKey: key });
  terminal.remark(`private key: ${file} (mode 0600; it stays on this machine)`);
  terminal.remark(`public key:  ${publicFile}`);
  terminal.remark("add this to the policy, under scopes/:");
  terminal.raw(documentYaml(options.kind, name, key));
}

async function makeMasterKey({ surroundings, terminal }: Context, options: MasterOptions): Promise<void> {
  const { out } = options;
  const { env, cwd } = surroundings;
  const file = out === undefined ? (await surroundings.readSettings(env, cwd)).masterKeyFile : resolve(cwd, out);
  const isMade = await writeMasterKey(file, options.ifMissing === true);
  if (options.json === true) return terminal.json({ file, isMade });
  if (!isMade) return terminal.line(`the master key ${file} is there`);
  terminal.line(
    `made the master key ${file} (mode 0600): give every broker of the store this file, and keep a copy apart`,
  );
}

async function listSshKeys({ surroundings, terminal }: Context, options: OutputOptions): Promise<void> {
  const keys = await openSshAgent(surroundings).keys();
  if (options.json === true) {
    return terminal.json({
      keys: keys.map(({ fingerprint, type, comment, usable }) => ({
        fingerprint,
        type,
        comment,
        publicKey: usable?.publicJwk ?? null,
      })),
    });
  }
  if (keys.length === 0)
    return terminal.remark("the SSH agent has no keys: add one with ssh-add, unlock it with ssh-add -X");
  terminal.table(
    ["FINGERPRINT", "TYPE", "COMMENT", "CAN SIGN HERE"],
    // A comment is any text, and a line end in it would look like another key.
    keys.map(({ fingerprint, type, comment, usable }) => [
      fingerprint,
      type,
      comment.replaceAll("\n", "\\n"),
      usable === null ? "no" : "yes",
    ]),
  );
  const usable = keys.flatMap((key) => (key.usable === null ? [] : [{ ...key, ...key.usable }]));
  if (usable.length === 0)
    return terminal.remark("none of them can sign here: make one with ssh-keygen -t ed25519, add it with ssh-add");
  terminal.remark("add the one that is yours to your document in the policy, under scopes/:");
  terminal.line("keys:");
  for (const { fingerprint, publicJwk } of usable) terminal.line(`  - { ${flowMembers(publicJwk)} } # ${fingerprint}`);
}

/** What stands between name and keys. An agent's values are examples that must be looked at: labels decide what it gets. */
const MEMBERS = {
  agent:
    "owner: admin-1 # the person behind it, who never approves what it asks for\n" +
    "labels: { environment: staging, team: platform } # roles select agents by labels\n",
  person: "powers: [approve] # of approve, revoke, audit, administer\nteams: []\n",
  service: "",
} as const satisfies Record<NewOptions["kind"], string>;

/** The document to add. */
function documentYaml(kind: NewOptions["kind"], name: string, key: PublicMembers): string {
  const title = `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`;
  return `---\nkind: ${title}\nname: ${name}\n${MEMBERS[kind]}keys:\n  - { ${flowMembers(key)} }\n`;
}

/** Of a YAML flow mapping; the values are base64url and names. */
function flowMembers(key: PublicMembers): string {
  return Object.entries(key)
    .map(([member, value]) => `${member}: ${value}`)
    .join(", ");
}

async function rotateKeys(context: Context, options: RotateOptions): Promise<void> {
  const { terminal } = context;
  const client = connect(context.surroundings, options);
  const body = options.compromised === true ? { compromised: true } : {};
  const answer = await client.call("rotateKeys", { body });
  if (options.json === true) return terminal.json(answer);
  terminal.table(
    ["KEY", "PURPOSE", "STATE", "SINCE"],
    answer.keys.map((entry) => [entry.id, entry.purpose, entry.state, entry.createdAt]),
  );
}
