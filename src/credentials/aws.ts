// AWS: a session of one role for each grant, under a name of its own, with a policy that allows what the grant's permissions
// stand for and denies everything from the grant's end on. A session cannot be called back: it is denied on the role by its
// name, and counts as dead when AWS has refused another session of that name.

import { setTimeout as sleep } from "node:timers/promises";
import { AssumeRoleCommand, type AssumeRoleCommandOutput } from "@aws-sdk/client-sts";
import { sessionPolicy } from "../core/aws-policy.ts";
import type { Clock } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type AwsPlace, createAwsCalls, type Identity, isDenied, isNamed } from "./aws-calls.ts";
import { isLetIn } from "./aws-probe.ts";
import { createRevocations } from "./aws-revocations.ts";
import { sessionTags, sourceIdentity } from "./aws-tags.ts";
import type { CredentialSystem, Examined, Made, Order, Subject } from "./credential-system.ts";

interface Dependencies extends AwsPlace {
  /** Begins the names of all its sessions. */
  readonly prefix: string;
  /** A static key as `ID:SECRET`; null: what the broker's machine or workload is. */
  readonly openKey: (() => Promise<string>) | null;
  /** As AWS has it: the wall's. */
  readonly clock: Clock;
}

/** Whose its own sessions are. */
const BROKER: Subject = {
  agent: "valetkey",
  task: "to see whether sessions are refused",
  grant: "none",
  environments: [],
};
const MIN_SESSION_SECONDS = 900;
/** Whole seconds count at AWS, and some pass on the way. */
const CLOCK_MS = 2000;
const CONTROL_MS = 600_000;
const CONTROL_TRIES = 3;
const LOOK_MS = 15_000;
const FIRST_LOOK_MS = 25;
const LONGEST_LOOK_MS = 1000;

export function createAws(dependencies: Dependencies): CredentialSystem {
  const { name, role, region, probe, prefix, clock, maxSessionSeconds, openKey } = dependencies;
  /** How far AWS's clock is ahead of ours: it judges the end. */
  let ahead = 0;
  const there = (): number => clock.now() + ahead;
  const calls = createAwsCalls(dependencies, openKey, () => clock.now());
  const revocations = createRevocations(dependencies, `${prefix}revoked`, calls, there);
  const failed = (what: string): BrokerError => new BrokerError("upstream_failed", `upstream ${name}: ${what}`);
  let control: { readonly identity: Promise<Identity>; readonly madeAt: number } | null = null;
  let examinedAt = -Infinity;
  let denials: "known" | "refused" | "unknown" = "unknown";

  async function assume(as: string, policy: string, seconds: number, subject: Subject): Promise<Required<Identity>> {
    const input = {
      RoleArn: role.arn,
      RoleSessionName: as,
      DurationSeconds: seconds,
      Policy: policy,
      ...(role.externalId !== null && { ExternalId: role.externalId }),
      SourceIdentity: sourceIdentity(subject),
      Tags: sessionTags(name, subject),
    };
    try {
      const answer = await calls.call("sts:AssumeRole", (abortSignal) =>
        calls.sts.send(new AssumeRoleCommand(input), { abortSignal }),
      );
      return identityOf(answer) ?? failOn("AWS answered without a credential");
    } catch (thrown) {
      if (isNamed(thrown, /^PackedPolicyTooLarge/))
        throw failed(
          "policy and tags are too large for AWS when they are packed: ask for fewer permissions in one grant",
        );
      throw thrown;
    }
  }
  const failOn = (what: string): never => {
    throw failed(what);
  };

  /** One that may do what the probe does, and nothing else. */
  async function assumeProbe(as: string, { allow, on }: NonNullable<typeof probe>): Promise<Identity> {
    const policy = sessionPolicy([{ actions: [allow], resources: [on] }], there() + MIN_SESSION_SECONDS * 1000);
    return assume(as, policy, MIN_SESSION_SECONDS, BROKER);
  }

  /** Nobody denies it, unless the whole role was cut off since, by whatever broker: then there is another one. */
  async function isControlLetIn(how: NonNullable<typeof probe>): Promise<boolean> {
    for (let tries = 0; tries < CONTROL_TRIES; tries++) {
      await sleep(Math.max(0, revocations.cutOffAt() - there()) + (tries > 0 ? CLOCK_MS / 2 : 0));
      if (control === null || there() > control.madeAt + CONTROL_MS)
        control = { madeAt: there(), identity: assumeProbe(`${prefix}control`, how) };
      const asked = control;
      // One that could not be made is made anew.
      const isIn = await asked.identity
        .then((identity) => isLetIn(dependencies, calls, how, identity))
        .catch((thrown: unknown) => {
          if (control === asked) control = null;
          throw thrown;
        });
      if (isIn) return true;
      if (control === asked) control = null;
    }
    return false;
  }

  async function seeRefused(handle: string, how: NonNullable<typeof probe>, session: Identity): Promise<void> {
    const from = clock.monotonic();
    for (let pause = FIRST_LOOK_MS; ; pause = Math.min(LONGEST_LOOK_MS, pause * 2)) {
      if (!(await isLetIn(dependencies, calls, how, session))) break;
      if (clock.monotonic() - from > LOOK_MS)
        throw failed(`${handle} is denied on ${role.arn}, and AWS does not heed it yet`);
      await sleep(pause);
    }
    if (!(await isControlLetIn(how)))
      throw failed(
        "the probe is refused to a session that nobody denies, too: what it says of others counts for nothing",
      );
  }

  return {
    make: async ({ handle, policy, endsInMs, subject }: Order): Promise<Made> => {
      if (policy.kind !== "aws") throw failed("it takes policies of its own kind");
      const seconds = Math.min(maxSessionSeconds, Math.max(MIN_SESSION_SECONDS, Math.ceil(endsInMs / 1000)));
      const dueAt = clock.monotonic() + endsInMs;
      for (let tries = 0; tries < 2; tries++) {
        await sleep(Math.max(0, revocations.cutOffAt() - there()));
        const from = clock.now();
        const left = dueAt - clock.monotonic();
        const text = sessionPolicy(policy.statements, there() + left);
        const made = assume(handle, text, seconds, subject);
        // A second try: there is a session by now, whatever has become of the key.
        const { expiration, ...keys } = await (tries === 0
          ? made
          : made.catch((thrown: unknown) => failOn(sayOf(thrown))));
        const answeredAt = expiration.getTime() - seconds * 1000;
        // What the answer says of the time there: at another one the session would end too late, or too early.
        const [least, most] = [from + ahead - CLOCK_MS, there() + CLOCK_MS];
        if (answeredAt >= least && answeredAt <= most)
          return { login: { kind: "aws", region, ...keys }, lastsMs: from + seconds * 1000 - clock.now() };
        ahead = answeredAt - (from + clock.now()) / 2;
      }
      throw new BrokerError("upstream_failed", `upstream ${name}: AWS's clock is not steady`, { retryAfterSeconds: 5 });
    },

    end: async (handle, endsInMs) => {
      // Its own policy denies everything by now: that is how all end whom nobody revokes.
      if (endsInMs <= 0) {
        await sleep(Math.max(0, endsInMs + CLOCK_MS));
        return null;
      }
      if (denials === "refused" && (await examineDenials(true)) !== null)
        throw failed(`the broker may not write policies of ${role.arn}: it waits for the grant's end`);
      // Before the denial: one begun later is another's, where the whole role is cut off.
      const session = probe === null ? null : await assumeProbe(handle, probe);
      const isWide = await revocations.deny(handle, there() + endsInMs);
      if (probe === null || session === null)
        throw failed(
          `${handle} is denied on ${role.arn}; without a \`probe\` nobody can see it, and it counts as dead at the grant's end`,
        );
      await seeRefused(handle, probe, session);
      return isWide ? `every session of ${role.arn} that had begun: there was no room to deny it alone` : null;
    },

    // What denies it goes when it is over anyhow.
    clear: () => Promise.resolve(),
    // AWS lists no sessions: those of a broker that died are in its store, or end by themselves.
    list: () => Promise.resolve([]),
    examine: (_roles, isToTry) => examine(isToTry),
    close: () => Promise.resolve(calls.close()),
  };

  /** Whether sessions can be denied, by denying nobody's once; and what was denied still is. Null: it works. */
  async function examineDenials(isToTry: boolean): Promise<string | null> {
    try {
      if (!isToTry) await revocations.leave();
      else if (denials === "known") await revocations.keep();
      else {
        await revocations.deny(`${prefix}nobody`, there());
        denials = "known";
      }
      return null;
    } catch (thrown) {
      if (!isDenied(thrown)) throw thrown;
      denials = "refused";
      return `the broker has no right to iam:GetRolePolicy and iam:PutRolePolicy on ${role.arn}: what is revoked lives until its grant ends`;
    }
  }

  async function examine(isToTry: boolean): Promise<Examined> {
    const [faults, notes]: [string[], string[]] = [[], []];
    if (there() > examinedAt + CONTROL_MS) {
      // With tags and all, and of no use to anybody.
      await assume(`${prefix}examine`, sessionPolicy([], there()), MIN_SESSION_SECONDS, BROKER);
      examinedAt = there();
    }
    const why = await examineDenials(isToTry);
    if (why !== null) notes.push(why);
    if (probe === null)
      notes.push(
        "without a `probe` nobody can see that a revoked session is refused: it counts as dead at its grant's end",
      );
    else if (!(await isControlLetIn(probe)))
      faults.push(`the probe is refused: ${role.arn} has to allow ${probe.allow} on ${probe.on}`);
    if (openKey !== null)
      notes.push("the broker uses a static key, which lives until somebody deletes it: better give its machine a role");
    return { faults, notes };
  }
}

function identityOf({ Credentials: given }: AssumeRoleCommandOutput): Required<Identity> | null {
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, SessionToken: sessionToken } = given ?? {};
  const expiration = given?.Expiration;
  if (accessKeyId === undefined || secretAccessKey === undefined || sessionToken === undefined) return null;
  const isFit = [accessKeyId, secretAccessKey, sessionToken].every((text) => /^[\x21-\x7e]{1,16384}$/.test(text));
  return expiration === undefined || !isFit ? null : { accessKeyId, secretAccessKey, sessionToken, expiration };
}

function sayOf(thrown: unknown): string {
  return thrown instanceof BrokerError ? thrown.detail : "AWS could not be asked again";
}
