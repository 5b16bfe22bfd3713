// `valetkey aws-credentials`: an agent's session of AWS in the shapes that AWS's own tools read unmodified: printed as a
// `credential_process` prints it, or served on loopback as a container's are.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html

import { type Command, Option } from "commander";
import { type GrantAnswer, GrantRequest } from "../api/grants.ts";
import type { Clock } from "../core/clock.ts";
import { isId } from "../core/ids.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { createGrantHandle, type Grant } from "../sdk/grant-handle.ts";
import { POLL_SECONDS, pollUntil } from "../sdk/long-poll.ts";
import { connect } from "./connect.ts";
import { openContainerEndpoint } from "./container-endpoint.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { EXIT, refused, wrongUse } from "./failure.ts";
import { parseBody, parsePermissions } from "./permissions.ts";

interface AwsCredentialsOptions extends BrokerOptions {
  readonly task?: string;
  readonly role?: string;
  readonly ttl?: string;
  readonly reason?: string;
  readonly grant?: string;
  readonly serve?: true;
  readonly port?: string;
}

/** What a timer can hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function addAwsCredentialsCommand(program: Command, context: Context): void {
  const command = program
    .command("aws-credentials")
    .description("an AWS session for AWS's own tools: printed for `credential_process`, or served on loopback")
    .argument("[permission...]", "ACTION RESOURCE, as often as the task needs")
    .option("--task <text>", "the piece of work this is for; it is recorded with everything that follows")
    .option("--role <name>", "the role to use; without it the broker picks the narrowest that fits")
    .option("--ttl <duration>", "how long the grant lives, such as 90s or 15m")
    .option("--reason <text>", "why, for the record")
    .addOption(
      new Option("--grant <id>", "of a grant that is there, as one that was held and is active by now").conflicts([
        "task",
        "role",
        "ttl",
        "reason",
      ]),
    )
    .option("--serve", "stay, and serve the session and those after it until the grant ends")
    .option("--port <number>", "with --serve: on this port of 127.0.0.1; any that is free")
    .action((words: string[], options: AwsCredentialsOptions) => run(context, words, options));
  withExamples(
    withBrokerOptions(command),
    'valetkey aws-credentials --as coder --task "read the uploads" object:read shop-aws:bucket/shop-uploads',
    'valetkey aws-credentials --serve --as coder --task "read the uploads" object:read shop-aws:bucket/shop-uploads',
    "valetkey aws-credentials --serve --as coder --grant grt_01M81XN6M4NQB8A190F6ZTP7QQ",
  );
}

async function run(context: Context, words: readonly string[], options: AwsCredentialsOptions): Promise<void> {
  const port = readPort(options);
  const wanted = readWanted(words, options);
  const client = connect(context.surroundings, options);
  const answer = await find(client, wanted);
  // What the broker calls itself matters to the gateway alone.
  const dependencies = { api: client, clock: context.surroundings.clock, send: globalThis.fetch, issuer: "" };
  const grant = createGrantHandle(dependencies, answer);
  if (answer.credential !== undefined && answer.credential.kind !== "aws") {
    await grant.release();
    throw wrongUse(
      `upstream ${answer.grant.upstream} gives credentials of kind ${answer.credential.kind}, and not for AWS`,
    );
  }
  if (options.serve === true) await serve(context, client, grant, port);
  else await print(context, grant);
}

function readPort({ port, serve: isServed }: AwsCredentialsOptions): number {
  if (port === undefined) return 0;
  if (isServed !== true) throw wrongUse("--port says where to serve: add --serve");
  const number = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (!(number <= 65_535)) throw wrongUse("--port: expected a number up to 65535");
  return number;
}

/** A grant that is there, or what to ask for. */
type Wanted = { readonly id: string } | { readonly body: GrantRequest };

function readWanted(words: readonly string[], options: AwsCredentialsOptions): Wanted {
  const { grant: id, task, role, ttl, reason } = options;
  if (id !== undefined) {
    if (words.length > 0) throw wrongUse("--grant has its permissions: name no others");
    if (!isId("grt", id)) throw wrongUse("--grant: expected a grant's id like grt_01M81XN6M4NQB8A190F6ZTP7QQ");
    return { id };
  }
  if (task === undefined) throw wrongUse("say what it is for with --task, or which grant it is of with --grant");
  const body = parseBody(GrantRequest, {
    task,
    permissions: parsePermissions(words),
    ...(role === undefined ? {} : { role }),
    ...(ttl === undefined ? {} : { ttl }),
    ...(reason === undefined ? {} : { reason }),
  });
  return { body };
}

type Found = Pick<GrantAnswer, "grant"> & Partial<Pick<GrantAnswer, "credential">>;

/** Throws CommandFailure (exit 1) where it waits: no tool of AWS's waits for people. */
async function find(client: ApiClient, wanted: Wanted): Promise<Found> {
  if ("id" in wanted) return { grant: await client.call("readGrant", { params: { id: wanted.id } }) };
  const answer = await client.call("requestGrant", { body: wanted.body });
  if ("credential" in answer) return answer;
  if (!("hold" in answer)) throw refused("the broker answered with a decision, and no grant");
  const next = `valetkey aws-credentials --grant ${answer.grant.id}`;
  throw refused(`it waits, as hold ${answer.hold.id}: when it is active, name it with: ${next}`);
}

async function print({ terminal }: Context, grant: Grant): Promise<void> {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = await grant.aws()();
  terminal.json({
    Version: 1,
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    SessionToken: sessionToken,
    Expiration: `${expiration.toISOString().slice(0, 19)}Z`,
  });
}

/** Until the grant ends, however, or Ctrl-C, which ends it. */
async function serve(context: Context, client: ApiClient, grant: Grant, port: number): Promise<void> {
  const { surroundings, terminal } = context;
  const provide = grant.aws();
  // What cannot be had is said here, and not to the first client.
  await provide();
  const ended = Promise.withResolvers<string>();
  const endpoint = await openContainerEndpoint(provide, port, ended.resolve);
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) return surroundings.exit(EXIT.refused);
    isStopping = true;
    ended.resolve("stopped");
  };
  surroundings.onSignal("SIGINT", stop);
  surroundings.onSignal("SIGTERM", stop);
  const endsAt = Date.parse(grant.info.endsAt ?? "");
  const left = Math.min(Math.max(0, endsAt - surroundings.clock.now()), LONGEST_TIMER_MS);
  const timeUp = `its time was up at ${grant.info.endsAt}`;
  const timer = setTimeout(() => ended.resolve(timeUp), left);
  const watching = new AbortController();
  // A revocation is told here, and not only by what AWS refuses.
  const watch = async (): Promise<void> => {
    const by = await untilOver(client, grant, surroundings.clock, watching.signal);
    if (by !== "expiry") context.exitCode = EXIT.refused;
    ended.resolve(by === "expiry" ? timeUp : `it was ended by ${by}`);
  };
  // Without the broker there is nothing to tell.
  void watch().catch(() => undefined);
  terminal.line(`export AWS_CONTAINER_CREDENTIALS_FULL_URI='${endpoint.url}'`);
  terminal.line(`export AWS_CONTAINER_AUTHORIZATION_TOKEN='${endpoint.token}'`);
  terminal.remark(`serving grant ${grant.id} until ${grant.info.endsAt}, or Ctrl-C, which ends it`);
  try {
    terminal.remark(`the grant is over: ${await ended.promise}`);
  } finally {
    clearTimeout(timer);
    watching.abort();
    await endpoint.close();
    await grant.release();
  }
}

async function untilOver(client: ApiClient, { id }: Grant, clock: Clock, signal: AbortSignal): Promise<string> {
  const query = { wait: POLL_SECONDS, while: "active" } as const;
  const ask = () => client.call("readGrant", { params: { id }, query, signal });
  const { endedBy } = await pollUntil({ id, clock, ask, isOver: ({ status }) => status === "ended", signal });
  return endedBy ?? "expiry";
}
