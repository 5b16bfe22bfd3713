// Every environment variable of the broker: one strict schema, all problems at once. Reads only what it is given.
// An unknown VALETKEY_ variable is an error: a misspelt limit must not become a default.

import { resolve } from "node:path";
import * as z from "zod";
import { parseDurationSeconds } from "./core/duration.ts";

export interface ServerConfig {
  /** The issuer URL, without a slash at its end; null: `http://` and the address that was bound. */
  readonly issuer: string | null;
  readonly host: string;
  readonly port: number;
  /** Path of the SQLite file. */
  readonly storeFile: string;
  readonly scopesFolder: string;
  readonly masterKeyFile: string;
  readonly maxTtlSeconds: number;
  readonly keyRotationSeconds: number;
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
const LOOPBACK = /^(?:127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\]|localhost)$/;

const Duration = (example: string) =>
  z.string().transform((text, context) => {
    const seconds = parseDurationSeconds(text);
    if (seconds !== null) return seconds;
    context.addIssue({ code: "custom", message: `expected a duration like ${example}` });
    return z.NEVER;
  });

const Listen = z.string().transform((text, context) => {
  const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text);
  const [, host, port] = match ?? [];
  if (host !== undefined && port !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  context.addIssue({ code: "custom", message: "expected an address and a port like 127.0.0.1:8420" });
  return z.NEVER;
});

/** Proofs and verifiers compare it as text: only the form that every URL parser would write is one. */
const Issuer = z.string().refine((text) => {
  if (!URL.canParse(text)) return false;
  const { protocol, origin, pathname, hostname } = new URL(text);
  const canonical = pathname === "/" ? origin : `${origin}${pathname}`;
  const isPrivate = protocol === "https:" || (protocol === "http:" && LOOPBACK.test(hostname));
  return canonical === text && !text.endsWith("/") && isPrivate;
}, "expected an https URL in its normal form (http for a loopback address), without a slash at its end, such as https://valetkey.example");

const Store = z.string().transform((text, context) => {
  if (text.startsWith("sqlite:") && text.length > "sqlite:".length) return text.slice("sqlite:".length);
  context.addIssue({ code: "custom", message: "expected sqlite: and a path, such as sqlite:.valetkey/broker.db" });
  return z.NEVER;
});

const Environment = z.strictObject({
  VALETKEY_ISSUER: Issuer.optional(),
  VALETKEY_LISTEN: Listen.prefault("127.0.0.1:8420"),
  VALETKEY_STORE: Store.prefault("sqlite:.valetkey/broker.db"),
  VALETKEY_SCOPES: z.string().min(1).prefault("./scopes"),
  VALETKEY_MASTER_KEY_FILE: z.string().min(1).prefault(".valetkey/master.key"),
  VALETKEY_MAX_TTL: Duration("1h")
    .refine((seconds) => seconds <= HIGHEST_MAX_TTL_SECONDS, "expected at most 24h")
    .prefault("1h"),
  VALETKEY_KEY_ROTATION: Duration("30d")
    .refine((seconds) => seconds >= LOWEST_KEY_ROTATION_SECONDS, "expected at least 1h")
    .prefault("30d"),
});

/** Every variable that the broker reads; docs/configuration.md is tested against it. */
export const SERVER_VARIABLES: readonly string[] = Object.keys(Environment.shape);

/** Throws ConfigError with every problem. Paths are resolved against `cwd`. */
export function readServerConfig(env: Readonly<Record<string, string | undefined>>, cwd: string): ServerConfig {
  const ours = Object.entries(env).filter(([name]) => name.startsWith("VALETKEY_") && !CLIENT_VARIABLES.has(name));
  const variables = Object.fromEntries(ours);
  const parsed = Environment.safeParse(variables);
  const problems = [
    ...(parsed.success ? [] : parsed.error.issues.flatMap(describeIssue)),
    ...findUnprotected(variables),
  ];
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  const values = parsed.data;
  const { host, port } = values.VALETKEY_LISTEN;
  const issuer = values.VALETKEY_ISSUER ?? null;
  return {
    issuer,
    host: host.replace(/^\[|\]$/g, ""),
    port,
    storeFile: resolve(cwd, values.VALETKEY_STORE),
    scopesFolder: resolve(cwd, values.VALETKEY_SCOPES),
    masterKeyFile: resolve(cwd, values.VALETKEY_MASTER_KEY_FILE),
    maxTtlSeconds: values.VALETKEY_MAX_TTL,
    keyRotationSeconds: values.VALETKEY_KEY_ROTATION,
  };
}

function describeIssue(issue: z.core.$ZodIssue): readonly string[] {
  if (issue.code !== "unrecognized_keys") return [`${issue.path.join(".")}: ${issue.message}`];
  return issue.keys.map((key) => `${key}: this variable is not known; docs/configuration.md lists them`);
}

/** Judged by itself, so that it is told together with whatever else is wrong. */
function findUnprotected(variables: Readonly<Record<string, string | undefined>>): readonly string[] {
  const listen = Environment.shape.VALETKEY_LISTEN.safeParse(variables["VALETKEY_LISTEN"]);
  if (
    !listen.success ||
    LOOPBACK.test(listen.data.host) ||
    variables["VALETKEY_ISSUER"]?.startsWith("https://") === true
  )
    return [];
  return [
    `VALETKEY_LISTEN: ${listen.data.host} is not a loopback address, so VALETKEY_ISSUER must be an https URL: put TLS in front of the broker`,
  ];
}
