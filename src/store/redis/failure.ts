// What went wrong between this broker and Redis, in words. A raw error holds the whole command, its values and at times a
// password: nothing of it goes on but what is known by its form here. Nothing else in the engine looks at raw errors.

import { BrokerError } from "../../core/errors.ts";

/**
 * `lost`: the connection went while the answer was awaited, so it may have been done; `away`: there is none, nothing was
 * sent; `silent`: no answer in time; `refused`: the server said no.
 */
type FailureKind = "lost" | "away" | "silent" | "refused";

interface Failure {
  readonly kind: FailureKind;
  /** What is so, and what to do. */
  readonly message: string;
}

/** What a reply that is an error begins with. */
const REPLIES: Readonly<Record<string, string>> = {
  ASK: "the Cluster is moving the slot of the store to another node: nothing is decided until all of it is there",
  BEINGLOADED:
    "the store is being filled by a restore or a migration: wait until that ends; where it was interrupted, run it again with --force",
  BUSY: "the server is busy with a script that does not end: look at what else runs on it",
  CLUSTERDOWN: "the Cluster is down, or nobody serves the slot of the store: look at its nodes",
  CROSSSLOT: "keys of one command are on several slots of the Cluster",
  DENIED: "the server is in protected mode: give it a user and a password",
  LOADING: "the server is still loading its data: wait",
  MASTERDOWN: "the server is a replica without its master: look at the fail-over",
  MISCONF: "the server cannot write to its disk: look at its space and its log",
  MOVED: "the Cluster has moved the slot of the store, and the way there was not found: look at its nodes",
  NOAUTH: "the server wants a password: set VALETKEY_REDIS_PASSWORD_FILE",
  NOPERM: "the user may not do this on the server: give it the commands and keys that the documentation lists",
  NOREPLICAS: "the server has too few replicas to accept writes: look at them, and at min-replicas-to-write",
  OOM: "the server's memory is full (maxmemory): give it more",
  READONLY: "the server is a replica that accepts no writes: name its primary, or wait for the fail-over",
  TRYAGAIN: "the Cluster is moving the slot of the store to another node: wait until it is there",
  UNBLOCKED: "the server has become a replica: wait for the fail-over",
  WRONGPASS: "the user or the password is wrong: look at VALETKEY_STORE and VALETKEY_REDIS_PASSWORD_FILE",
};

/** By the code that Node gives an error of a socket, a look-up or TLS. */
const CODES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  EAI_AGAIN: "its name cannot be looked up at this time",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was cut",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to its network",
  ENOTFOUND: "its name is not known",
  EPROTO: "it does not speak TLS there",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name or address",
  ETIMEDOUT: "it did not answer in time",
};
const UNTRUSTED =
  /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT\w*|UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_\w+)$/;

/** In the words of ioredis. */
const LOST = /^(?:Connection is closed|Command aborted due to connection close|Reached the max retries per request)/;
const AWAY =
  /^(?:Stream isn't writeable|Cluster isn't ready|Cluster is |None of startup nodes|Failed to refresh slots)/;
const SILENT = /^(?:Command timed out|Socket timeout|timeout$)/;
/** Where a script failed, and what Lua says of it: neither has a value. */
const SCRIPT = /user_script:(\d{1,6})(?:: (attempt to [a-z]+|bad argument #\d+))?/;

const WENT = "the connection to the Redis server went before it answered";
const NONE = "there is no connection to the Redis server";
const NO_SENTINEL = "no Sentinel answers: look at them";

const kinds = new WeakMap<BrokerError, FailureKind>();

/** As every failure of the engine leaves it. `why`: what is known of the connection where there is none. */
export function storeError(cause: unknown, why: string | null = null): BrokerError {
  if (cause instanceof BrokerError) return cause;
  const { kind, message } = failureOf(cause);
  const error = new BrokerError("store_unavailable", message === NONE && why !== null ? why : message);
  kinds.set(error, kind);
  return error;
}

/** The connection went while the answer was awaited: it may have been done. */
export const isLost = (cause: unknown): boolean => kindOf(cause) === "lost";

/** There is no connection, for the time being. */
export const isAway = (cause: unknown): boolean => kindOf(cause) === "away";

/** Another connection may find the server whose turn it is. */
export const isOfReplica = (cause: unknown): boolean =>
  cause instanceof Error && /^(?:READONLY|MASTERDOWN)\b/.test(cause.message);

/** Why there is no connection; null where the error only says that there is none. */
export function reasonIn(cause: unknown): string | null {
  const { message } = failureOf(cause);
  return message === WENT || message === NONE ? null : message;
}

function kindOf(cause: unknown): FailureKind | undefined {
  return cause instanceof BrokerError ? kinds.get(cause) : failureOf(cause).kind;
}

function failureOf(cause: unknown): Failure {
  if (!(cause instanceof Error)) return { kind: "away", message: NONE };
  if ("lastNodeError" in cause && cause.lastNodeError instanceof Error)
    return { kind: "away", message: failureOf(cause.lastNodeError).message };
  // What is told last is the reason: "Too many Cluster redirections. Last error: ReplyError: CLUSTERDOWN …".
  const text = /Last error: (?:[A-Za-z]*Error: )?(.*)$/s.exec(cause.message)?.[1] ?? cause.message;
  const [reply = ""] = /^[A-Z]+(?= |$)/.exec(text) ?? [];
  const said = REPLIES[reply];
  if (said !== undefined) return { kind: "refused", message: said };
  if (reply === "ERR" || SCRIPT.test(text)) return { kind: "refused", message: describeReply(text) };
  if (cause.message.startsWith("All sentinels"))
    // Each has answered: that it knows nothing.
    return { kind: "away", message: text === cause.message ? "Sentinel knows no master of this name" : NO_SENTINEL };
  const code = codeOf(cause);
  if (code !== null)
    return { kind: code === "ECONNRESET" || code === "EPIPE" ? "lost" : "away", message: absence(code) };
  if (LOST.test(text)) return { kind: "lost", message: WENT };
  if (SILENT.test(text)) return { kind: "silent", message: "the Redis server did not answer in time" };
  if (AWAY.test(text)) return { kind: "away", message: NONE };
  return { kind: "refused", message: "the Redis server answered what was not understood" };
}

function codeOf(cause: Error): string | null {
  // A look-up of several addresses fails with all of their errors.
  const error = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause;
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : null;
}

function absence(code: string): string {
  if (UNTRUSTED.test(code) && CODES[code] === undefined)
    return `cannot connect to the Redis server: its certificate is not trusted (${code}): set VALETKEY_REDIS_CA_FILE`;
  return `cannot connect to the Redis server: ${CODES[code] ?? code}`;
}

function describeReply(text: string): string {
  if (text.startsWith("ERR max number of clients"))
    return "the server has as many connections as it allows (maxclients)";
  if (/^ERR invalid DB index|^ERR DB index/.test(text)) return "the server has no database of this number";
  if (/cluster support disabled/.test(text)) return "the server is no Cluster: write redis:// in VALETKEY_STORE";
  const [, line, what] = SCRIPT.exec(text) ?? [];
  if (line !== undefined) return `a script of the store failed at line ${line}${what === undefined ? "" : `: ${what}`}`;
  return "the Redis server refused a command";
}
