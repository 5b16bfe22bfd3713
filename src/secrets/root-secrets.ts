// The root credentials of upstreams and the signing secrets of webhooks: sealed ones, and those that the operator mounts.
// Opened when a call or a message needs it, for one origin of its own; in the store there are sealed bytes alone.
// Nothing here reads one back.

import type { SecretAnswer, SecretRequest } from "../api/secrets.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { RequestId } from "../core/ids.ts";
import { isName } from "../core/names.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { Secret } from "../core/secret.ts";
import { findValueFault } from "../core/secret-value.ts";
import { isProvider } from "../scopes/provider-upstreams.ts";
import type { ScopeSet, SecretReference } from "../scopes/scope-set.ts";
import { openEnvelope, sealEnvelope } from "./envelope.ts";
import type { Sealer } from "./sealer.ts";
import type { SecretPort, StoredSecret } from "./secret-port.ts";
import type { SecretReferences } from "./secret-references.ts";

/** Who changes a secret, and the proof that the transition consumes. */
export interface SecretCall {
  readonly person: string;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
}

export interface RootSecrets {
  /** The credential, for this origin alone. Throws `secret_unavailable` with the next step. */
  open(reference: SecretReference, origin: string): Promise<Secret>;
  /** Where it may be sent to, or null where there is no such secret (yet). */
  originsOf(reference: SecretReference): readonly string[] | null;
  /**
   * What of a policy would use a secret for another origin than its own, an upstream's credential or a webhook's signing
   * secret, or names a reference that the operator does not list (rule 26): such a policy must not come into force. Warnings: sealed secrets that are not there yet.
   */
  check(scopes: ScopeSet): { readonly problems: readonly string[]; readonly warnings: readonly string[] };
  /** Throws `conflict` where the policy in force uses it for an origin that is not among these. */
  put(call: SecretCall, name: string, body: SecretRequest): Promise<SecretAnswer>;
  /** Throws `not_found`. */
  remove(call: SecretCall, name: string): Promise<SecretAnswer>;
  list(): readonly SecretAnswer[];
  /** Another broker may have changed one. */
  reload(): Promise<void>;
}

interface Dependencies {
  readonly port: SecretPort;
  readonly sealer: Sealer;
  readonly at: () => Instant;
  readonly policy: () => ScopeSet;
  readonly references: SecretReferences;
}

export async function createRootSecrets(dependencies: Dependencies): Promise<RootSecrets> {
  const { port, sealer, at, policy, references } = dependencies;
  const load = async () => new Map((await port.secrets()).map((secret) => [secret.name, secret]));
  let sealed: ReadonlyMap<string, StoredSecret> = await load();
  // As long as the row counts: what opens it lies in the same memory, and opening costs more than all else in a call.
  const opened = new WeakMap<StoredSecret, Secret>();
  const openOnce = (row: StoredSecret): Secret => {
    const secret = opened.get(row) ?? openRow(sealer, row);
    opened.set(row, secret);
    return secret;
  };
  let changing: Promise<unknown> = Promise.resolve();

  /** Changes follow one another, so that memory ends as the store does, also where it failed to say whether it did it. */
  const inTurn = <Result>(change: () => Promise<Result>): Promise<Result> => {
    const done = changing.then(change).catch(async (thrown: unknown) => {
      if (!(thrown instanceof BrokerError) || thrown.status >= 500) sealed = await load().catch(() => sealed);
      throw thrown;
    });
    changing = done.catch(() => undefined);
    return done;
  };
  const facts = ({ person, request }: SecretCall) => ({ person, request, policy: policy().digest });
  const usersOf = (reference: SecretReference) => findUsers(policy()).filter(({ secret }) => secret === reference);
  const namesOf = (reference: SecretReference, kind: SecretUser["kind"]): string[] =>
    usersOf(reference)
      .filter((user) => user.kind === kind)
      .map((user) => user.name);
  const describe = (
    name: SecretReference,
    source: SecretAnswer["source"],
    origins: readonly string[],
    row: StoredSecret | null,
  ): SecretAnswer => ({
    name,
    source,
    version: row?.version ?? null,
    origins,
    createdAt: row === null ? null : toTimestamp(row.createdAt),
    createdBy: row?.createdBy ?? null,
    upstreams: namesOf(name, "upstream"),
    webhooks: namesOf(name, "webhook"),
  });
  const originsOf = (reference: SecretReference): readonly string[] | null =>
    isMounted(reference) ? references.originsOf(reference) : (sealed.get(reference)?.origins ?? null);

  return {
    open: async (reference, origin) => {
      const origins = originsOf(reference);
      if (origins === null) {
        throw new BrokerError("secret_unavailable", describeMissing(reference, [origin]));
      }
      if (!origins.includes(origin)) {
        throw new BrokerError("secret_unavailable", describeOutside(reference, origin));
      }
      const row = isMounted(reference) ? undefined : sealed.get(reference);
      return row === undefined ? references.open(reference) : openOnce(row);
    },
    originsOf,
    check: (scopes) => {
      const problems: string[] = [];
      const warnings: string[] = [];
      for (const user of findUsers(scopes)) {
        const { secret } = user;
        const origins = originsOf(secret);
        const place = `${user.kind} ${user.name}`;
        if (origins === null) {
          const found = isMounted(secret) ? problems : warnings;
          found.push(`${place}: ${describeMissing(secret, user.ownOrigins)}`);
          continue;
        }
        for (const origin of findOutside(user, origins)) problems.push(`${place}: ${describeOutside(secret, origin)}`);
      }
      return { problems, warnings };
    },
    put: (call, name, body) =>
      inTurn(async () => {
        checkName(name);
        // In one order, so that the same origins are always bound by the same bytes.
        const origins = body.origins.toSorted();
        for (const user of usersOf(name)) {
          const [outside] = findOutside(user, origins);
          if (outside !== undefined) throw new BrokerError("conflict", describeConflict(name, user, outside));
        }
        const version = (await port.lastSecretVersion(name)) + 1;
        const envelope = sealText(sealer, { name, version, origins }, body.value);
        const event = draftEvent({ type: "secret.sealed", secret: name, version, origins, ...facts(call) });
        const secret = { name, version, origins, ...envelope, createdBy: call.person };
        const done = await port.putSecret({ at: at(), proof: call.proof, secret, event });
        if (done.outcome === "conflict") {
          throw new BrokerError(
            "conflict",
            `${name} was put by another at this moment: look at valetkey secrets list, then put it again`,
          );
        }
        if (done.outcome !== "put") throw notWritten(done);
        const row = { ...secret, createdAt: done.instant };
        sealed = new Map(sealed).set(name, row);
        return describe(name, "sealed", origins, row);
      }),
    remove: (call, name) =>
      inTurn(async () => {
        checkName(name);
        const event = draftEvent({ type: "secret.deleted", secret: name, ...facts(call) });
        const done = await port.deleteSecret({ at: at(), proof: call.proof, name, event });
        if (done.outcome === "proof_replayed" || done.outcome === "clock_behind") throw notWritten(done);
        const row = sealed.get(name) ?? null;
        sealed = new Map([...sealed].filter(([other]) => other !== name));
        if (done.outcome === "deleted") return describe(name, "sealed", row?.origins ?? [], row);
        throw new BrokerError(
          "not_found",
          `there is no sealed root credential ${name}: valetkey secrets list shows those that are there`,
        );
      }),
    reload: () =>
      inTurn(async () => {
        sealed = await load();
      }),
    list: () => [
      ...[...sealed.values()]
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .map((row) => describe(row.name, "sealed", row.origins, row)),
      ...references.list().map(({ name, source, origins }) => describe(name, source, origins, null)),
    ],
  };
}

/** What of a policy uses a secret, and where: an upstream sends it, a webhook signs with it what goes there. */
interface SecretUser {
  readonly kind: "upstream" | "webhook";
  readonly name: string;
  readonly secret: SecretReference;
  readonly ownOrigins: readonly string[];
  /** Those of an upstream's operations. */
  readonly otherOrigins: readonly string[];
}

/** Resolvers ask at the upstream's own origins; operations of `http` may name another of them. */
function findUsers(scopes: ScopeSet): readonly SecretUser[] {
  const users: SecretUser[] = [];
  for (const upstream of scopes.upstreams.values()) {
    if (upstream.type === "service") continue;
    if (isProvider(upstream)) {
      const { name, secret, origin } = upstream;
      if (secret === null) continue;
      users.push({ kind: "upstream", name, secret, ownOrigins: [origin], otherOrigins: [] });
      continue;
    }
    const { name, credential, origins: ownOrigins } = upstream;
    const otherOrigins = upstream.type === "http" ? upstream.operations.all.map(({ origin }) => origin) : [];
    users.push({ kind: "upstream", name, secret: credential.secret, ownOrigins, otherOrigins });
  }
  for (const { name, secret, url } of scopes.settings.webhooks)
    users.push({ kind: "webhook", name, secret, ownOrigins: [new URL(url).origin], otherOrigins: [] });
  return users;
}

function findOutside({ ownOrigins, otherOrigins }: SecretUser, origins: readonly string[]): readonly string[] {
  return [...new Set([...ownOrigins, ...otherOrigins])].filter((origin) => !origins.includes(origin));
}

function isMounted(reference: SecretReference): boolean {
  return reference.includes(":");
}

function checkName(name: string): void {
  if (isName(name)) return;
  throw new BrokerError(
    "malformed_request",
    "expected a secret's name: lower-case letters, digits, '.', '_' or '-', at most 64; env: and file: references are the operator's",
  );
}

function sealText(sealer: Sealer, facts: Parameters<typeof sealEnvelope>[1], text: string) {
  // A lone surrogate has no bytes: another value than the one that was sent would be sealed.
  if (!text.isWellFormed()) throw new BrokerError("malformed_request", "the value is not well-formed text");
  const bytes = Buffer.from(text);
  try {
    const fault = findValueFault(bytes);
    if (fault !== null) throw new BrokerError("malformed_request", `the value ${fault}`);
    return sealEnvelope(sealer, facts, bytes);
  } finally {
    bytes.fill(0);
  }
}

function openRow(sealer: Sealer, row: StoredSecret): Secret {
  try {
    return openEnvelope(sealer, row);
  } catch (cause) {
    throw new BrokerError(
      "secret_unavailable",
      `the sealed root credential ${row.name} does not open: the store was altered; compare it with the record, then put it again`,
      { cause },
    );
  }
}

function describeMissing(reference: SecretReference, origins: readonly string[]): string {
  if (reference.startsWith("env:"))
    return `the root credential ${reference} is not listed: the operator adds it, with its origins, to VALETKEY_SECRETS_ENV`;
  if (reference.startsWith("file:"))
    return `the root credential ${reference} is not listed: the operator adds it, with its origins, to VALETKEY_SECRETS_FILES`;
  const options = origins.map((origin) => ` --origin ${origin}`).join("");
  return `the root credential ${reference} is not there: run valetkey secrets put ${reference}${options}`;
}

function describeOutside(reference: SecretReference, origin: string): string {
  const next = isMounted(reference)
    ? "the operator lists its origins in the broker's environment"
    : `put it again with --origin ${origin} among its origins, if it should be`;
  return `the root credential ${reference} may not be sent to ${origin}: ${next}`;
}

function describeConflict(name: string, { kind, name: user }: SecretUser, origin: string): string {
  const use = kind === "upstream" ? `sends ${name} to` : `signs with ${name} for`;
  return `the ${kind} ${user} ${use} ${origin}: name that origin too, or change the ${kind} first`;
}
