// `valetkey secrets put|list|delete`: root credentials of upstreams, signing secrets of webhooks. A value comes from
// standard input, never from an argument, where a shell's history and the list of processes would keep it; it is never
// printed.

import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import type { Command } from "commander";
import { type SecretAnswer, SecretRequest } from "../api/secrets.ts";
import { isName } from "../core/names.ts";
import { findValueFault, MAX_SECRET_BYTES, withoutLineEnd } from "../core/secret-value.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { refused, wrongUse } from "./failure.ts";
import { parseBody } from "./permissions.ts";
import type { Surroundings } from "./surroundings.ts";
import { styled, type Terminal } from "./terminal.ts";

interface PutOptions extends BrokerOptions {
  readonly origin: readonly string[];
}

export function addSecretsCommands(program: Command, context: Context): void {
  const secrets = program
    .command("secrets")
    .description("seal root credentials and signing secrets of webhooks, list and forget them");
  withExamples(
    secrets,
    "valetkey secrets put github-root --origin https://api.github.com --as admin-1 < github.key",
    "valetkey secrets list --as admin-1",
  );
  const put = secrets
    .command("put")
    .description("seal a secret, read from standard input, in place of any other of its name")
    .argument("<name>", "what upstreams or webhooks call it")
    .requiredOption(
      "--origin <url>",
      "where it may be sent to, for a webhook where its receiver is; once for each origin",
      (url: string, others: readonly string[] | undefined) => [...(others ?? []), url],
    )
    // Checked here: commander's own message would print what might be the value.
    .allowExcessArguments()
    .action((name: string, options: PutOptions, command: Command) => {
      if (command.args.length > 1)
        throw wrongUse(
          "expected a name alone: a value comes from standard input, such as < github.key; if this was one, your shell keeps it: make another",
        );
      return putSecret(context, name, options);
    });
  withExamples(
    withBrokerOptions(put),
    "valetkey secrets put stripe-root --origin https://api.stripe.com --as admin-1 < stripe.key",
    "valetkey secrets put github-root --origin https://api.github.com --origin https://uploads.github.com --as admin-1",
  );
  const list = secrets
    .command("list")
    .description("names, origins and versions, never values")
    .action((options: BrokerOptions) => listSecrets(context, options));
  withExamples(withBrokerOptions(list), "valetkey secrets list --as admin-1");
  const forget = secrets
    .command("delete")
    .description("forget a secret; calls that need it are refused from now on, and webhooks that sign with it stop")
    .argument("<name>", "the sealed secret's name")
    .action((name: string, options: BrokerOptions) => deleteSecret(context, name, options));
  withExamples(withBrokerOptions(forget), "valetkey secrets delete stripe-root --as admin-1");
}

async function putSecret(context: Context, name: string, options: PutOptions): Promise<void> {
  const { surroundings, terminal } = context;
  checkName(name);
  // What can be wrong without the value is told before anybody types it.
  parseBody(SecretRequest.omit({ value: true }), { origins: options.origin });
  const client = connect(surroundings, options);
  const value = await readValue(surroundings, name);
  const body = parseBody(SecretRequest, { value, origins: options.origin });
  const answer = await client.call("putSecret", { params: { name }, body });
  if (options.json === true) return terminal.json(answer);
  terminal.line(styled("green", "sealed"), `: ${answer.name}, version ${answer.version ?? "-"}`);
  printFacts(terminal, answer);
  if (answer.upstreams.length === 0 && answer.webhooks.length === 0)
    terminal.remark("no upstream and no webhook of the policy in force uses it yet");
}

async function listSecrets(context: Context, options: BrokerOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const answer = await connect(surroundings, options).call("listSecrets");
  if (options.json === true) return terminal.json(answer);
  if (answer.secrets.length === 0)
    return terminal.line("there is no secret: valetkey secrets put NAME --origin URL seals one");
  terminal.table(
    ["NAME", "SOURCE", "VERSION", "ORIGINS", "USED BY", "SINCE", "BY"],
    answer.secrets.map((secret) => [
      secret.name,
      secret.source,
      secret.version === null ? null : String(secret.version),
      secret.origins.join("\n"),
      usersOf(secret).join("\n") || null,
      secret.createdAt,
      secret.createdBy,
    ]),
  );
}

async function deleteSecret(context: Context, name: string, options: BrokerOptions): Promise<void> {
  const { surroundings, terminal } = context;
  checkName(name);
  const answer = await connect(surroundings, options).call("deleteSecret", { params: { name } });
  if (options.json === true) return terminal.json(answer);
  terminal.line(styled("red", "forgotten"), `: ${answer.name}`);
  if (answer.upstreams.length > 0)
    terminal.line(`calls to ${answer.upstreams.join(", ")} are refused until it is put again`);
  if (answer.webhooks.length > 0)
    terminal.line(
      `${answer.webhooks.join(", ")} is told nothing until it is put again; what happens meanwhile is told then`,
    );
  terminal.remark("the provider still accepts it: revoke it there too");
}

function printFacts(terminal: Terminal, answer: SecretAnswer): void {
  const users = usersOf(answer);
  terminal.facts([
    ["may be sent to", answer.origins.join("\n")],
    ["used by", users.length === 0 ? null : users.join(", ")],
  ]);
}

function usersOf({ upstreams, webhooks }: SecretAnswer): readonly string[] {
  return [...upstreams, ...webhooks.map((name) => `webhook ${name}`)];
}

function checkName(name: string): void {
  if (!isName(name)) throw wrongUse("expected a secret's name such as github-root");
}

/** From a terminal one line, not shown; else all of standard input, without one line end at its end. */
async function readValue({ stdin, stderr }: Surroundings, name: string): Promise<string> {
  const bytes = stdin.isTTY === true ? await readHidden(stdin, stderr, name) : await readAll(stdin);
  const value = withoutLineEnd(bytes);
  const fault = findValueFault(value);
  if (fault !== null) throw wrongUse(`standard input: the value ${fault}`);
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value);
}

async function readAll(stdin: Surroundings["stdin"]): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    // A line end may follow the longest value.
    if (bytes > MAX_SECRET_BYTES + 2) throw wrongUse(`standard input: a value has at most ${MAX_SECRET_BYTES} bytes`);
    chunks.push(piece);
  }
  return Buffer.concat(chunks);
}

/** Readline edits the line and echoes to an output that shows nothing. */
async function readHidden(
  stdin: Surroundings["stdin"],
  stderr: Surroundings["stderr"],
  name: string,
): Promise<Uint8Array> {
  stderr.write(`the value of ${name} (not shown): `);
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: stdin, output, terminal: true, historySize: 0 });
  try {
    const line = await new Promise<string | null>((settle) => {
      reader.once("line", settle);
      reader.once("SIGINT", () => settle(null));
      reader.once("close", () => settle(null));
    });
    if (line === null) throw refused("nothing was sealed");
    return Buffer.from(line);
  } finally {
    reader.close();
    stderr.write("\n");
  }
}
