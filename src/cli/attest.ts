// `valetkey attest`: an agent that makes backups says, signed with its own key, of what, where and when. What it says is
// checked for form here, so that a mistake in a cron job is told where it is; nothing else is known here.

import type { Command } from "commander";
import { type AttestationAnswer, AttestationRequest } from "../api/holds.ts";
import { isLabelValue, isName, isResource } from "../core/names.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { RefusedError } from "../sdk/errors.ts";
import { signStatement } from "../sdk/sign-statement.ts";
import { connectWithSigner } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { refused, wrongUse } from "./failure.ts";
import { parseBody } from "./permissions.ts";
import type { Terminal } from "./terminal.ts";

interface AttestOptions extends BrokerOptions {
  readonly location: readonly string[];
  readonly takenAt: string;
  readonly sha256: string;
  readonly size?: string;
  readonly restoreTestedAt?: string;
}

const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/;
const SHA256 = /^[0-9a-f]{64}$/;
const SIZE = /^(?:0|[1-9]\d{0,14})$/;
const SECONDS_LENGTH = "2026-11-22T03:00:00".length;

export function addAttestCommand(program: Command, context: Context): void {
  const attest = program
    .command("attest")
    .description("state, signed, that a backup of a resource exists, for the holds that wait for one")
    .argument("<resource>", "what was backed up, such as shop:volume/vol_1")
    .requiredOption(
      "--location <field=value>",
      "where the backup lies, such as account=shop-backups; repeat it",
      collect,
    )
    .requiredOption("--taken-at <time>", "when it was taken, in UTC: 2026-11-22T03:00:00Z")
    .requiredOption("--sha256 <hex>", "checksum of the backup")
    .option("--size <bytes>", "its size")
    .option("--restore-tested-at <time>", "when a restore from it was tested, in UTC")
    .action((resource: string, options: AttestOptions) => runAttest(context, resource, options));
  withExamples(
    withBrokerOptions(attest),
    "valetkey attest shop:volume/vol_1 --as backup-1 --location account=shop-backups --location volume=b-77 \\\n" +
      "      --taken-at 2026-11-22T03:00:00Z --sha256 $(sha256sum vol_1.tar | cut -c -64)",
  );
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

async function runAttest({ surroundings, terminal }: Context, resource: string, options: AttestOptions): Promise<void> {
  if (!isResource(resource)) throw wrongUse("expected a resource like shop:volume/vol_1, without wildcards");
  if (!SHA256.test(options.sha256)) throw wrongUse("--sha256: expected 64 lower-case hexadecimal digits");
  if (options.size !== undefined && !SIZE.test(options.size))
    throw wrongUse("--size: expected a whole number of bytes");
  const { restoreTestedAt, size } = options;
  const statement = {
    subjects: [{ resource, sha256: options.sha256 }],
    location: readLocation(options.location),
    takenAt: readTime(options.takenAt, "--taken-at"),
    sizeBytes: size === undefined ? undefined : Number(size),
    restoreTestedAt: restoreTestedAt === undefined ? undefined : readTime(restoreTestedAt, "--restore-tested-at"),
  };
  const { client, signer } = await connectWithSigner(surroundings, options);
  const body = parseBody(AttestationRequest, await signStatement(signer, statement));
  const answer = await send(client, body, resource, options);
  if (options.json === true) terminal.json(answer);
  else printAnswer(terminal, answer);
}

/** With --json a refusal is printed as it came. */
async function send(
  client: ApiClient,
  body: AttestationRequest,
  resource: string,
  { json }: AttestOptions,
): Promise<AttestationAnswer> {
  try {
    return await client.call("attest", { body });
  } catch (error) {
    if (json === true || !(error instanceof RefusedError) || error.code !== "power_missing") throw error;
    // What a person without a power is told helps no agent.
    throw refused(
      `refused: power_missing: ${error.message}\nattesting is for an agent with \`attests\` in its \`kind: Agent\`: who keeps the policy adds a selector there that covers ${resource}, then attest again`,
    );
  }
}

function readLocation(words: readonly string[]): Readonly<Record<string, string>> {
  const fields = new Map<string, string>();
  for (const word of words) {
    const [field = "", value = ""] = word.split(/=(.*)/s);
    if (!isName(field) || !isLabelValue(value))
      throw wrongUse(
        "--location: expected a name and a value of letters, digits, '.', '_' or '-', such as account=shop-backups",
      );
    if (fields.has(field)) throw wrongUse(`--location: ${field} is given twice`);
    fields.set(field, value);
  }
  return Object.fromEntries(fields);
}

function readTime(text: string, option: string): Date {
  const date = new Date(text);
  // The last part: the 30th of February is no day.
  if (
    !TIMESTAMP.test(text) ||
    Number.isNaN(date.getTime()) ||
    !date.toISOString().startsWith(text.slice(0, SECONDS_LENGTH))
  )
    throw wrongUse(`${option}: expected a time in UTC such as 2026-11-22T03:00:00Z`);
  return date;
}

function printAnswer(terminal: Terminal, { attestations, holds }: AttestationAnswer): void {
  for (const { id, resource, location, takenAt, restoreTestedAt, bytes, sha256 } of attestations) {
    terminal.facts([
      ["attestation", id],
      ["resource", resource],
      [
        "location",
        Object.entries(location)
          .map(([field, value]) => `${field}=${value}`)
          .join(" "),
      ],
      ["taken at", takenAt],
      ["restore tested at", restoreTestedAt],
      ["bytes", bytes === null ? null : String(bytes)],
      ["sha256", sha256],
    ]);
  }
  terminal.line(sayHolds(holds));
}

function sayHolds(holds: number): string {
  switch (holds) {
    case 0:
      return "accepted; no hold waits for a backup of it";
    case 1:
      return "accepted; 1 hold that waits looks again";
    default:
      return `accepted; ${holds} holds that wait look again`;
  }
}
