// One connection to a PostgreSQL server: to an allowed address, with the time that it may take, and with the password for
// SCRAM alone. A server that asks for the password itself gets nothing: it need not be the one that it says it is.

import { lookup } from "node:dns";
import { isIP, Socket } from "node:net";
import pg from "pg";
import { createAddressCheck } from "../core/addresses.ts";
import { checkLookup, refusedAddress } from "../core/checked-lookup.ts";
import { BrokerError } from "../core/errors.ts";

/** Where, and how it is reached. */
export interface PostgresPlace {
  /** The upstream's name, for errors. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly ca: string | null;
  readonly addresses: readonly string[];
}

export interface PostgresLogin {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export type Row = Readonly<Record<string, unknown>>;

export interface PostgresConnection {
  /** One statement, and its rows. Values are for `$1`, `$2`: names in statements of definition are quoted by `quote`. */
  run(text: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

/** From the first packet to the last. */
const WHOLE_MS = 20_000;
const CONNECT_MS = 5000;
const STATEMENT_MS = 10_000;
const LOCK_MS = 3000;
const IDLE_MS = 15_000;
/** Above what the server itself stops at. */
const ANSWER_MS = STATEMENT_MS + 2000;
/** Set for each session, so that neither the role's own settings nor the broker's environment decide. */
const OPTIONS = [
  "search_path=pg_catalog",
  `statement_timeout=${STATEMENT_MS}`,
  `lock_timeout=${LOCK_MS}`,
  `idle_in_transaction_session_timeout=${IDLE_MS}`,
  "client_min_messages=error",
]
  .map((setting) => `-c ${setting}`)
  .join(" ");

export const quote = { name: pg.escapeIdentifier, text: pg.escapeLiteral } as const;

/** Opens it, uses it, closes it. What `use` throws comes through; else `upstream_failed` or `upstream_timeout`. */
export async function withConnection<Result>(
  place: PostgresPlace,
  { user, password, database }: PostgresLogin,
  use: (connection: PostgresConnection) => Promise<Result>,
): Promise<Result> {
  const socket = openSocket(place);
  const client = new pg.Client({
    host: place.host,
    port: place.port,
    user,
    password,
    database,
    ssl: place.tls
      ? { rejectUnauthorized: true, minVersion: "TLSv1.2", ...(place.ca === null ? {} : { ca: place.ca }) }
      : false,
    stream: () => socket,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    options: OPTIONS,
    application_name: "valetkey",
  });
  // An idle connection that breaks says so at the next statement.
  client.on("error", () => undefined);
  refusePlainPasswords(client, socket);
  const deadline = setTimeout(() => socket.destroy(new Error("timed out")), WHOLE_MS);
  try {
    try {
      await client.connect();
    } catch (cause) {
      throw describeFailure(place.name, cause);
    }
    return await use({
      run: async (text, values = []) => {
        try {
          return (await client.query<Row>(text, [...values])).rows;
        } catch (cause) {
          throw describeFailure(place.name, cause);
        }
      },
    });
  } finally {
    clearTimeout(deadline);
    // Says goodbye where it can; what is under way is not waited for.
    void client.end().catch(() => undefined);
    setTimeout(() => socket.destroy(), 1000).unref();
  }
}

/** All or nothing, as PostgreSQL has it. A commit whose answer is lost may have happened. */
export async function inTransaction<Result>(
  connection: PostgresConnection,
  act: () => Promise<Result>,
): Promise<Result> {
  await connection.run("BEGIN");
  try {
    const result = await act();
    await connection.run("COMMIT");
    return result;
  } catch (cause) {
    await connection.run("ROLLBACK").catch(() => undefined);
    throw cause;
  }
}

/** Checked as the gateway's sockets are: the address that is written, those that the name has, and the one that answered. */
function openSocket({ name, addresses }: PostgresPlace): Socket {
  const check = createAddressCheck(addresses);
  const socket = new Socket();
  const connect = socket.connect.bind(socket);
  const destroy = (): void => void socket.destroy(refusedAddress(name));
  // As the driver calls it: port and host.
  const checked = (port: number, host: string): Socket => {
    if (isIP(host) !== 0 && !check.isAllowed(host)) queueMicrotask(destroy);
    else connect({ port, host, lookup: checkLookup(name, check, lookup) });
    return socket;
  };
  // Before the driver's own listener, which sends the first bytes.
  socket.once("connect", () => {
    if (socket.remoteAddress === undefined || !check.isAllowed(socket.remoteAddress)) destroy();
  });
  return Object.assign(socket, { connect: checked });
}

/** Its messages are in the driver's own object, which its types leave out. */
function refusePlainPasswords(client: pg.Client, socket: Socket): void {
  const { connection } = client as unknown as { readonly connection: NodeJS.EventEmitter };
  for (const event of ["authenticationCleartextPassword", "authenticationMD5Password"]) {
    connection.prependListener(event, () => {
      socket.destroy(new Error("the server asks for the password itself, and not for SCRAM-SHA-256"));
    });
  }
}

/** The code that the server or the system gave, for those who decide by it; null: none. */
export function codeOf(thrown: unknown): string | null {
  const cause = thrown instanceof BrokerError ? thrown.cause : thrown;
  if (!(cause instanceof Error) || !("code" in cause)) return null;
  return typeof cause.code === "string" ? cause.code : null;
}

/** Codes are PostgreSQL's (its manual, appendix A) and the system's own words: nothing of a statement is repeated. */
function describeFailure(name: string, cause: unknown): BrokerError {
  if (cause instanceof BrokerError) return cause;
  const error = cause instanceof Error ? cause : new Error("unknown");
  const code = codeOf(error);
  const start = `upstream ${name}: its PostgreSQL server`;
  if (/timeout|timed out/i.test(error.message) || code === "ETIMEDOUT" || code === "57014")
    return new BrokerError("upstream_timeout", `${start} did not answer in time`, { cause, retryAfterSeconds: 1 });
  if (/SCRAM-SHA-256/.test(error.message) && code === null)
    return new BrokerError("upstream_failed", `${start} does not take SCRAM-SHA-256 for the broker's role`, { cause });
  const detail = `${start} ${reasonOf(code, error)}`;
  return new BrokerError(
    "upstream_failed",
    detail,
    PASSING.test(code ?? "") ? { cause, retryAfterSeconds: 1 } : { cause },
  );
}

/** What another moment may mend; no code: the connection broke. */
const PASSING = /^(?:|ECONN\w+|EPIPE|EAI_AGAIN|57P0[123]|53300|55P03|40001|40P01)$/;

const REASONS: Readonly<Record<string, string>> = {
  "28P01": "refuses the broker's password: put the root credential again",
  "28000": "does not let the broker's role in",
  "3D000": "has no such database",
  "42501": "does not give the broker's role the right that this needs: valetkey doctor --as NAME says which",
  "42704": "has no such role",
  "53300": "has no connection left",
  "57P01": "is shutting down",
  "57P03": "is starting up or shutting down",
  "55P03": "keeps something locked",
  ECONNREFUSED: "refuses connections",
  ENOTFOUND: "has a name that cannot be resolved",
};

function reasonOf(code: string | null, error: Error): string {
  if (code === null)
    return /SSL|certificate/i.test(error.message) ? "does not offer TLS that can be verified" : "closed the connection";
  if (/CERT|^UNABLE_TO_|^ERR_TLS|^ERR_SSL|^SELF_SIGNED|^DEPTH_ZERO/.test(code))
    return `has a certificate that is not acceptable (${code})`;
  return REASONS[code] ?? `failed (${code})`;
}
