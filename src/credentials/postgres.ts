// PostgreSQL: a login role for each grant, a member of the template roles that its permissions stand for, and of nothing
// else. The broker needs CREATEROLE and no more: what it does to a login's sessions and objects it does as that login.
// Never drops what an agent has made: it goes to the template role.

import { setTimeout as sleep } from "node:timers/promises";
import { BrokerError } from "../core/errors.ts";
import type { CredentialSystem, Examined, Made, Order } from "./credential-system.ts";
import {
  codeOf,
  inTransaction,
  type PostgresConnection,
  type PostgresPlace,
  quote,
  type Row,
  withConnection,
} from "./postgres-connection.ts";
import { drawScramSecret } from "./scram.ts";

interface Dependencies extends PostgresPlace {
  readonly database: string;
  /** The broker's own role. */
  readonly user: string;
  readonly openPassword: () => Promise<string>;
}

type Use<Result> = (connection: PostgresConnection) => Promise<Result>;

const LOOKS = 100;
const LOOK_EVERY_MS = 50;
/** Before that whoever is logged in may make others members of its own role: what is lent would outlive its sessions. */
const MIN_VERSION = 150_000;
/** GRANT takes INHERIT and SET from here on, and CREATEROLE reaches only what the role may administer. */
const OPTIONS_VERSION = 160_000;
/** Class 28, invalid authorization specification. */
const NOT_LET_IN = /^28/;

export function createPostgres(dependencies: Dependencies): CredentialSystem {
  const { name, host, port, tls, ca, database, user, openPassword } = dependencies;
  const failed = (what: string): BrokerError => new BrokerError("upstream_failed", `upstream ${name}: ${what}`);

  async function use<Result>(act: Use<Result>, where = database): Promise<Result> {
    return withConnection(dependencies, { user, password: await openPassword(), database: where }, act);
  }

  return {
    make: async ({ handle, policy, endsInMs, note }: Order): Promise<Made> => {
      if (policy.kind !== "postgres") throw failed("it takes policies of its own kind");
      const { password, verifier } = await drawScramSecret();
      const { roles, owner, connections, statementTimeoutMs } = policy;
      const login = quote.name(handle);
      await use((connection) =>
        inTransaction(connection, async () => {
          const { version, until } = await readServer(connection, endsInMs);
          const wrong = versionFault(version) ?? (await findFaults(connection, roles))[0];
          if (wrong !== undefined) throw failed(wrong);
          if (await exists(connection, handle)) {
            await connection.run(
              `ALTER ROLE ${login} LOGIN PASSWORD ${quote.text(verifier)} VALID UNTIL ${quote.text(until)}`,
            );
            return;
          }
          await connection.run(
            `CREATE ROLE ${login} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT` +
              ` CONNECTION LIMIT ${connections} PASSWORD ${quote.text(verifier)} VALID UNTIL ${quote.text(until)}`,
          );
          // To end its sessions, and to give away what it makes; it inherits nothing by it where the server can tell apart.
          const how = version >= OPTIONS_VERSION ? " WITH INHERIT FALSE, SET TRUE" : "";
          await connection.run(`GRANT ${login} TO ${quote.name(user)}${how}`);
          for (const role of roles) await connection.run(`GRANT ${quote.name(role)} TO ${login}`);
          await connection.run(`ALTER ROLE ${login} SET statement_timeout = ${quote.text(String(statementTimeoutMs))}`);
          if (owner !== null) await connection.run(`ALTER ROLE ${login} SET role = ${quote.text(owner)}`);
          await connection.run(`COMMENT ON ROLE ${login} IS ${quote.text(note)}`);
        }),
      );
      return { login: { kind: "postgres", host, port, database, user: handle, password, tls, ca }, lastsMs: null };
    },

    end: async (handle) => {
      const probe = await drawScramSecret();
      await use(async (connection) => {
        if (!(await exists(connection, handle))) return;
        // The password too: from here on nobody knows one but this function.
        await connection.run(`ALTER ROLE ${quote.name(handle)} NOLOGIN PASSWORD ${quote.text(probe.verifier)}`);
        await endSessions(connection, handle);
        await checkRefused(handle, probe.password);
        // Whoever was on the way in when the role was closed is in by now, or never will be.
        await endSessions(connection, handle);
      });
      return null;
    },

    clear: (handle) =>
      use(async (connection) => {
        if (!(await exists(connection, handle))) return;
        for (const place of await findPlaces(connection, handle)) {
          if (place === database) await giveAway(connection, handle);
          else await use((other) => giveAway(other, handle), place);
        }
        await connection.run(`DROP ROLE IF EXISTS ${quote.name(handle)}`);
      }),

    list: (prefix, after, limit) =>
      use(async (connection) => {
        const rows = await connection.run(
          'SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1) AND rolname > $2 COLLATE "C" ORDER BY rolname COLLATE "C" LIMIT $3',
          [prefix, after, limit],
        );
        return rows.map((row) => String(row["rolname"]));
      }),

    examine: (roles) => use((connection) => examine(connection, roles, user)),
    close: () => Promise.resolve(),
  };

  /** As anybody would who had the password. */
  async function checkRefused(handle: string, password: string): Promise<void> {
    try {
      await withConnection(dependencies, { user: handle, password, database }, () => Promise.resolve());
    } catch (thrown) {
      if (NOT_LET_IN.test(codeOf(thrown) ?? "")) return;
      throw thrown;
    }
    throw failed(`${handle} is let in after it was closed: look at pg_hba.conf`);
  }

  /** Until none is left: one that is being ended takes its time. As the login itself, which may end its own. */
  async function endSessions(connection: PostgresConnection, handle: string): Promise<void> {
    for (let looks = 0; looks < LOOKS; looks++) {
      const left = await inTransaction(connection, async () => {
        await connection.run(`SET LOCAL ROLE ${quote.name(handle)}`);
        return connection.run(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = (SELECT oid FROM pg_roles WHERE rolname = $1)",
          [handle],
        );
      });
      if (left.length === 0) return;
      await sleep(LOOK_EVERY_MS);
    }
    throw failed(`sessions of ${handle} do not end`);
  }
}

async function exists(connection: PostgresConnection, handle: string): Promise<boolean> {
  return (await connection.run("SELECT 1 FROM pg_roles WHERE rolname = $1", [handle])).length > 0;
}

/** The end by the server's own clock: it judges VALID UNTIL, and may be minutes apart from the broker's. */
async function readServer(connection: PostgresConnection, endsInMs: number) {
  const [row] = await connection.run(
    "SELECT current_setting('server_version_num')::int AS version, (clock_timestamp() + $1 * interval '1 millisecond')::text AS until",
    [endsInMs],
  );
  return { version: Number(row?.["version"]), until: String(row?.["until"]) };
}

/** Databases where something belongs to it or names it. */
async function findPlaces(connection: PostgresConnection, handle: string): Promise<readonly string[]> {
  const rows = await connection.run(
    "SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid" +
      " WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1) ORDER BY datname",
    [handle],
  );
  return rows.map((row) => String(row["datname"]));
}

/**
 * In the database of this connection: what it owns goes to the role as which its sessions began, or else to the first of its
 * template roles; then the rights that it was given go. As the login, which is a member of whom it gives them to.
 */
async function giveAway(connection: PostgresConnection, handle: string): Promise<void> {
  const [heir] = await connection.run(
    "SELECT role.rolname FROM pg_auth_members JOIN pg_roles role ON role.oid = roleid JOIN pg_roles login ON login.oid = member" +
      " WHERE login.rolname = $1 ORDER BY ('role=' || role.rolname) = ANY (coalesce(login.rolconfig, '{}')) DESC, role.rolname LIMIT 1",
    [handle],
  );
  const login = quote.name(handle);
  await inTransaction(connection, async () => {
    await connection.run(`SET LOCAL ROLE ${login}`);
    if (heir !== undefined)
      await connection.run(`REASSIGN OWNED BY ${login} TO ${quote.name(String(heir["rolname"]))}`);
    // INVARIANT: nothing belongs to it any more, so that this takes rights away and drops nothing.
    await connection.run(`DROP OWNED BY ${login}`);
  });
}

/** These roles and whatever they lead to: a login could become any of them (SET ROLE). */
const REACHED =
  "WITH RECURSIVE reached AS (SELECT oid, rolname AS template FROM pg_roles WHERE rolname = ANY ($1::text[])" +
  " UNION SELECT roleid, template FROM pg_auth_members JOIN reached ON member = reached.oid)" +
  " SELECT template, role.rolname AS name, rolsuper, rolcreaterole, rolreplication, rolbypassrls" +
  " FROM reached JOIN pg_roles role ON role.oid = reached.oid ORDER BY template, name";

const POWERS = [
  ["rolsuper", "is a superuser"],
  ["rolcreaterole", "can create roles"],
  ["rolreplication", "can replicate the server"],
  ["rolbypassrls", "bypasses row security"],
] as const;

/** What must not be given, judged where it is given. */
async function findFaults(connection: PostgresConnection, roles: readonly string[]): Promise<readonly string[]> {
  const reached = await connection.run(REACHED, [[...roles]]);
  const faults: string[] = [];
  for (const role of roles) {
    if (!reached.some((row) => row["template"] === role))
      faults.push(`there is no template role ${role} on the server`);
  }
  for (const row of reached) {
    const [template, name] = [String(row["template"]), String(row["name"])];
    const leads =
      template === name ? `template role ${template}` : `template role ${template} is a member of ${name}, which`;
    for (const [column, what] of POWERS)
      if (row[column] === true) faults.push(`${leads} ${what}: no grant may have that`);
  }
  return faults;
}

/** `version` as `server_version_num` has it. */
export function versionFault(version: number): string | null {
  if (version >= MIN_VERSION) return null;
  return `PostgreSQL ${Math.floor(version / 10_000)} is older than ${MIN_VERSION / 10_000}: a login there can lend what it has, beyond its grant`;
}

async function examine(connection: PostgresConnection, roles: readonly string[], user: string): Promise<Examined> {
  const [own] = await connection.run(
    "SELECT current_setting('server_version_num')::int AS version, rolsuper, rolcreaterole, rolinherit FROM pg_roles WHERE rolname = current_user",
  );
  const version = Number(own?.["version"] ?? 0);
  const faults = [...(await findFaults(connection, roles))];
  const notes: string[] = [];
  const old = versionFault(version);
  if (old !== null) faults.push(old);
  if (own?.["rolsuper"] === true)
    faults.push(`the broker's role ${user} is a superuser: ALTER ROLE ${quote.name(user)} NOSUPERUSER CREATEROLE`);
  else if (own?.["rolcreaterole"] !== true)
    faults.push(`the broker's role ${user} cannot create roles: ALTER ROLE ${quote.name(user)} CREATEROLE`);
  if (version >= OPTIONS_VERSION) faults.push(...(await findNotGrantable(connection, roles, user)));
  else {
    notes.push(
      `PostgreSQL ${Math.floor(version / 10_000)}: CREATEROLE lets ${user} grant, change and drop every role but superusers, and not only its own; from 16 on it reaches what it may administer`,
    );
    if (own?.["rolinherit"] === true)
      notes.push(
        `${user} inherits what its logins may do while they are there: ALTER ROLE ${quote.name(user)} NOINHERIT`,
      );
  }
  return { faults, notes };
}

/** PostgreSQL 16: CREATEROLE alone grants nothing that the role may not administer. */
async function findNotGrantable(
  connection: PostgresConnection,
  roles: readonly string[],
  user: string,
): Promise<readonly string[]> {
  const rows: readonly Row[] = await connection.run(
    "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[]) AND NOT pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION') ORDER BY rolname",
    [[...roles]],
  );
  return rows.map((row) => {
    const role = String(row["rolname"]);
    return `${user} may not grant ${role}: GRANT ${quote.name(role)} TO ${quote.name(user)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`;
  });
}
