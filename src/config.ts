// Every environment variable of the broker: one strict schema, all problems at once. Reads only what it is given.
// An unknown VALETKEY_ variable is an error: a misspelt limit must not become a default.

import { dirname, resolve } from "node:path";
import * as z from "zod";
import { isSecretOrigin } from "./api/secrets.ts";
import { ACCEPTABLE_LOSSES, type AcceptableLoss, isAcceptableLoss } from "./core/accepted-losses.ts";
import { parseDurationSeconds } from "./core/duration.ts";
import { isInsideFolder } from "./core/inside-folder.ts";
import { knownBeside } from "./core/known-file.ts";
import { isName } from "./core/names.ts";
import { parseRedisAddress, type RedisAddress } from "./core/redis-address.ts";
import { Secret } from "./core/secret.ts";
import { findValueFault, withoutLineEnd } from "./core/secret-value.ts";

type Variables = Readonly<Record<string, string | undefined>>;

interface ListedSecret {
  readonly name: string;
  readonly origins: readonly string[];
}

type StoreLocation =
  | { readonly engine: "sqlite"; readonly file: string }
  | {
      readonly engine: "redis";
      readonly address: RedisAddress;
      /** Files with what is not in the address. */
      readonly passwordFile: string | null;
      readonly sentinelPasswordFile: string | null;
      /** PEM of who signs the servers' certificates; null: those that Node trusts. */
      readonly caFile: string | null;
      /** So many replicas must have what was written before it is answered. */
      readonly replicas: number;
      /** What the operator knows that this server may lose. */
      readonly acceptedLosses: ReadonlySet<AcceptableLoss>;
    };

export interface ServerConfig {
  /** The issuer URL, without a slash at its end; null: `http://` and the address that was bound. */
  readonly issuer: string | null;
  readonly host: string;
  readonly port: number;
  readonly store: StoreLocation;
  readonly scopesFolder: string;
  /** The one policy that may come into force here; null: any. */
  readonly scopesDigest: string | null;
  readonly masterKeyFile: string;
  readonly knownFile: string;
  readonly maxTtlSeconds: number;
  readonly keyRotationSeconds: number;
  /** Root credentials that the orchestrator mounts, with the origins that each may be sent to (rule 26). */
  readonly secretReferences: {
    /** `env:NAME`, with its value. */
    readonly env: readonly (ListedSecret & { readonly value: Secret })[];
    /** `file:NAME` in this folder. */
    readonly files: { readonly folder: string; readonly names: readonly ListedSecret[] } | null;
    /** Folders with Valetkey's own files, which no reference may read. */
    readonly ownFolders: readonly string[];
  };
  /** Addresses that serve one gateway upstream each, without a path before it. */
  readonly gatewayListeners: readonly { readonly upstream: string; readonly host: string; readonly port: number }[];
}

/** All that is wrong with the environment, one line a problem. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Variables of the clients, which a shared environment may hold too. */
const CLIENT_VARIABLES = new Set(["VALETKEY_URL", "VALETKEY_KEY"]);
/** A longer life than a day is not a broker's credential. */
const HIGHEST_MAX_TTL_SECONDS = 86_400;
/** Keys stay published for one life of a credential: more often, and the key set would grow beyond its bound. */
const LOWEST_KEY_ROTATION_SECONDS = 3600;
const MAX_WORDS = 100;
const MAX_ORIGINS = 16;
const LOOPBACK = /^(?:127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\]|localhost)$/;

const Duration = (example: string) =>
  z.string().transform((text, context) => {
    const seconds = parseDurationSeconds(text);
    if (seconds !== null) return seconds;
    context.addIssue({ code: "custom", message: `expected a duration like ${example}` });
    return z.NEVER;
  });

function parseAddress(text: string): { readonly host: string; readonly port: number } | null {
  const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text);
  const [, host, port] = match ?? [];
  return host === undefined || port === undefined || Number(port) > 65_535 ? null : { host, port: Number(port) };
}

const Listen = z.string().transform((text, context) => {
  const address = parseAddress(text);
  if (address !== null) return address;
  context.addIssue({ code: "custom", message: "expected an address and a port like 127.0.0.1:8420" });
  return z.NEVER;
});

/**
 * `name=value` words between spaces, each name once. A word that does not fit is told by its place alone: somebody may
 * have put a secret where its name belongs.
 */
function parseWords<Value>(
  words: readonly string[],
  context: z.RefinementCtx,
  isKey: (text: string) => boolean,
  parseValue: (text: string) => Value | null,
  example: string,
): readonly (readonly [name: string, value: Value])[] {
  const refuse = (message: string): void => context.addIssue({ code: "custom", message });
  if (words.length === 0 || words.length > MAX_WORDS) refuse(`expected 1 to ${MAX_WORDS} words like ${example}`);
  const parsed = new Map<string, Value>();
  for (const [index, word] of words.slice(0, MAX_WORDS).entries()) {
    const [, name = "", text = ""] = /^([^=]*)=(.*)$/s.exec(word) ?? [];
    const value = isKey(name) ? parseValue(text) : null;
    if (value === null) refuse(`word ${index + 1} of the list: expected one like ${example}`);
    else if (parsed.has(name)) refuse(`${name} is listed twice`);
    else parsed.set(name, value);
  }
  return [...parsed];
}

/** `https://a.example,https://b.example`. */
function parseOrigins(text: string): readonly string[] | null {
  const origins = text.split(",");
  const isEachOnce = new Set(origins).size === origins.length && origins.length <= MAX_ORIGINS;
  return isEachOnce && origins.every(isSecretOrigin) ? origins : null;
}

const toListed = (words: readonly (readonly [string, readonly string[]])[]): readonly ListedSecret[] =>
  words.map(([name, origins]) => ({ name, origins }));

const SecretsEnv = z.string().transform((text, context) => {
  const isKey = (name: string): boolean => /^[A-Z][A-Z0-9_]{0,127}$/.test(name) && !name.startsWith("VALETKEY_");
  return toListed(parseWords(splitWords(text), context, isKey, parseOrigins, "STRIPE_KEY=https://api.stripe.com"));
});

const SecretsFiles = z.string().transform((text, context) => {
  const [folder = "", ...words] = splitWords(text);
  if (folder === "" || folder.includes("=")) {
    context.addIssue({ code: "custom", message: "expected a folder, then words like stripe=https://api.stripe.com" });
    return z.NEVER;
  }
  const isKey = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name);
  return { folder, names: toListed(parseWords(words, context, isKey, parseOrigins, "stripe=https://api.stripe.com")) };
});

const GatewayListen = z
  .string()
  .transform((text, context) => parseWords(splitWords(text), context, isName, parseAddress, "github=127.0.0.1:8431"));

function splitWords(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/** Proofs and verifiers compare it as text: only the form that every URL parser would write is one. */
const Issuer = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const { protocol, origin, pathname, hostname } = new URL(text);
  const canonical = pathname === "/" ? origin : `${origin}${pathname}`;
  const isPrivate = protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname));
  return canonical === text && !text.endsWith("/") && isPrivate;
}, "expected an https URL in its normal form (http for a loopback address), without a slash at its end, such as https://valetkey.example");

const Store = z.string().transform((text, context) => {
  const file = /^sqlite:(.+)$/.exec(text)?.[1];
  if (file !== undefined) return { engine: "sqlite", file } as const;
  if (/^rediss?[+:]/.test(text)) {
    const parsed = parseRedisAddress(text);
    if (parsed.outcome === "parsed") return { engine: "redis", address: parsed.address } as const;
    context.addIssue({ code: "custom", message: parsed.message });
    return z.NEVER;
  }
  context.addIssue({
    code: "custom",
    message: "expected sqlite: and a path, such as sqlite:.valetkey/broker.db, or redis:// and an address",
  });
  return z.NEVER;
});

const Count = z
  .string()
  .regex(/^[0-5]$/, "expected a number from 0 to 5")
  .transform(Number);

const Losses = z.string().transform((text, context) => {
  const words = splitWords(text);
  if (words.length > 0 && words.every(isAcceptableLoss)) return new Set(words.filter(isAcceptableLoss));
  context.addIssue({ code: "custom", message: `expected words of: ${ACCEPTABLE_LOSSES.join(", ")}` });
  return z.NEVER;
});

const Environment = z.strictObject({
  VALETKEY_ISSUER: Issuer.optional(),
  VALETKEY_LISTEN: Listen.prefault("127.0.0.1:8420"),
  VALETKEY_STORE: Store.prefault("sqlite:.valetkey/broker.db"),
  VALETKEY_REDIS_PASSWORD_FILE: z.string().min(1).optional(),
  VALETKEY_REDIS_SENTINEL_PASSWORD_FILE: z.string().min(1).optional(),
  VALETKEY_REDIS_CA_FILE: z.string().min(1).optional(),
  VALETKEY_REDIS_REPLICAS: Count.optional(),
  VALETKEY_REDIS_ACCEPT_LOSS: Losses.optional(),
  VALETKEY_SCOPES: z.string().min(1).prefault("./scopes"),
  VALETKEY_SCOPES_DIGEST: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "expected a digest of 64 lower-case hex characters, as valetkey scopes check prints it")
    .optional(),
  VALETKEY_MASTER_KEY_FILE: z.string().min(1).prefault(".valetkey/master.key"),
  VALETKEY_KNOWN_FILE: z.string().min(1).optional(),
  VALETKEY_MAX_TTL: Duration("1h")
    .refine((seconds) => seconds <= HIGHEST_MAX_TTL_SECONDS, "expected at most 24h")
    .prefault("1h"),
  VALETKEY_KEY_ROTATION: Duration("30d")
    .refine((seconds) => seconds >= LOWEST_KEY_ROTATION_SECONDS, "expected at least 1h")
    .prefault("30d"),
  VALETKEY_SECRETS_ENV: SecretsEnv.optional(),
  VALETKEY_SECRETS_FILES: SecretsFiles.optional(),
  VALETKEY_GATEWAY_LISTEN: GatewayListen.optional(),
});

/** Every variable that the broker reads; docs/configuration.md is tested against it. */
export const SERVER_VARIABLES: readonly string[] = Object.keys(Environment.shape);

/** Throws ConfigError with every problem. Paths are resolved against `cwd`. */
export function readServerConfig(env: Variables, cwd: string): ServerConfig {
  const ours = Object.entries(env).filter(([name]) => name.startsWith("VALETKEY_") && !CLIENT_VARIABLES.has(name));
  const variables = Object.fromEntries(ours);
  const parsed = Environment.safeParse(variables);
  const problems = [
    ...(parsed.success ? [] : parsed.error.issues.flatMap(describeIssue)),
    ...findUnprotected(variables),
    ...findUnusable(variables, env),
    ...findWithoutRedis(variables),
  ];
  if (!parsed.success) throw new ConfigError(problems);
  const { VALETKEY_STORE: named, ...values } = parsed.data;
  const fileOf = (name: string | undefined): string | null => (name === undefined ? null : resolve(cwd, name));
  const store: StoreLocation =
    named.engine === "sqlite"
      ? { ...named, file: resolve(cwd, named.file) }
      : {
          ...named,
          passwordFile: fileOf(values.VALETKEY_REDIS_PASSWORD_FILE),
          sentinelPasswordFile: fileOf(values.VALETKEY_REDIS_SENTINEL_PASSWORD_FILE),
          caFile: fileOf(values.VALETKEY_REDIS_CA_FILE),
          replicas: values.VALETKEY_REDIS_REPLICAS ?? 0,
          acceptedLosses: values.VALETKEY_REDIS_ACCEPT_LOSS ?? new Set(),
        };
  const scopesFolder = resolve(cwd, values.VALETKEY_SCOPES);
  const masterKeyFile = resolve(cwd, values.VALETKEY_MASTER_KEY_FILE);
  const knownFile = fileOf(values.VALETKEY_KNOWN_FILE) ?? knownBeside(masterKeyFile, store.engine);
  const ownFiles = [masterKeyFile, knownFile, ...(store.engine === "sqlite" ? [store.file] : [])];
  const ownFolders = [...new Set([...ownFiles.map((own) => dirname(own)), scopesFolder])];
  const listed = values.VALETKEY_SECRETS_FILES;
  const files = listed === undefined ? null : { ...listed, folder: resolve(cwd, listed.folder) };
  if (files !== null) problems.push(...findMixed(files.folder, ownFolders));
  if (problems.length > 0) throw new ConfigError(problems);
  const { host, port } = values.VALETKEY_LISTEN;
  return {
    issuer: values.VALETKEY_ISSUER ?? null,
    host: bare(host),
    port,
    store,
    scopesFolder,
    scopesDigest: values.VALETKEY_SCOPES_DIGEST ?? null,
    masterKeyFile,
    knownFile,
    maxTtlSeconds: values.VALETKEY_MAX_TTL,
    keyRotationSeconds: values.VALETKEY_KEY_ROTATION,
    secretReferences: {
      env: (values.VALETKEY_SECRETS_ENV ?? []).map((secret) => ({
        ...secret,
        value: new Secret(readBytes(env, secret.name)),
      })),
      files,
      ownFolders,
    },
    gatewayListeners: (values.VALETKEY_GATEWAY_LISTEN ?? []).map(([upstream, address]) => ({
      upstream,
      host: bare(address.host),
      port: address.port,
    })),
  };
}

function describeIssue(issue: z.core.$ZodIssue): readonly string[] {
  if (issue.code !== "unrecognized_keys") return [`${issue.path.join(".")}: ${issue.message}`];
  return issue.keys.map((key) => `${key}: this variable is not known; docs/configuration.md lists them`);
}

/** Judged by itself, as are values below, so that it is told together with whatever else is wrong. */
function findUnprotected(variables: Variables): readonly string[] {
  if (variables["VALETKEY_ISSUER"]?.startsWith("https://") === true) return [];
  const { VALETKEY_LISTEN: listen, VALETKEY_GATEWAY_LISTEN: gateway } = Environment.shape;
  const [main, others] = [
    listen.safeParse(variables["VALETKEY_LISTEN"]),
    gateway.safeParse(variables["VALETKEY_GATEWAY_LISTEN"]),
  ];
  const hosts = [
    ...(main.success ? [["VALETKEY_LISTEN", main.data.host] as const] : []),
    ...(others.data ?? []).map(([, { host }]) => ["VALETKEY_GATEWAY_LISTEN", host] as const),
  ];
  return hosts
    .filter(([, host]) => !LOOPBACK.test(host))
    .map(
      ([name, host]) =>
        `${name}: ${host} is not a loopback address, so VALETKEY_ISSUER must be an https URL: put TLS in front of the broker`,
    );
}

/** Listed and not there, or not what a root credential can be. */
function findUnusable(variables: Variables, env: Variables): readonly string[] {
  const listed = Environment.shape.VALETKEY_SECRETS_ENV.safeParse(variables["VALETKEY_SECRETS_ENV"]);
  return (listed.data ?? []).flatMap(({ name }) => {
    const fault = env[name] === undefined ? "is not set" : findValueFault(readBytes(env, name));
    return fault === null ? [] : [`VALETKEY_SECRETS_ENV: the value of ${name} ${fault}`];
  });
}

function findWithoutRedis(variables: Variables): readonly string[] {
  if (variables["VALETKEY_STORE"]?.startsWith("redis") === true) return [];
  return Object.keys(variables)
    .filter((name) => name.startsWith("VALETKEY_REDIS_") && variables[name] !== "")
    .map((name) => `${name}: the store is no Redis: set VALETKEY_STORE, or leave this out`);
}

/** A listed file name must not be able to mean one of Valetkey's own files. */
function findMixed(folder: string, ownFolders: readonly string[]): readonly string[] {
  return ownFolders
    .filter((own) => isInsideFolder(own, folder) || isInsideFolder(folder, own))
    .map(
      (own) =>
        `VALETKEY_SECRETS_FILES: its folder and ${own}, which has Valetkey's own files, lie in one another: keep mounted secrets apart`,
    );
}

function readBytes(env: Variables, name: string): Uint8Array {
  return withoutLineEnd(Buffer.from(env[name] ?? ""));
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}
