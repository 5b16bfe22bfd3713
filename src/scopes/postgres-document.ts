// The schema of an upstream of type postgres: one database of one server, where grants become login roles that are members
// of roles which its administrator made. Says what is well-formed; `postgres-upstream.ts` says what it means. No I/O.

import * as z from "zod";
import { isPostgresOrigin } from "../api/secrets.ts";
import { Action, Name } from "../api/values.ts";
import { isPostgresName } from "../core/names.ts";
import { durationUpTo } from "./bounded-duration.ts";
import { NamedFile, PrivateAddresses, SecretReferenceText } from "./outgoing.ts";
import { strictObject } from "./strict-object.ts";

const MAX_TEMPLATES = 1000;
const MAX_PATH_LENGTH = 256;
const MAX_CONNECTIONS = 1000;

const PostgresName = z
  .string()
  .refine(isPostgresName, "expected a name of PostgreSQL's: 1 to 63 bytes, without control characters");

/** What the server comes with gives more than any one grant may: all tables, files of the server, other sessions. */
const TemplateName = PostgresName.refine(
  (name) => !name.startsWith("pg_"),
  "expected a role of your own making: those that begin with pg_ are PostgreSQL's",
);

const Template = strictObject({
  action: Action,
  resource: z
    .string()
    .min(1)
    .max(MAX_PATH_LENGTH)
    .describe("what follows the upstream's name and the colon: database/shop; no patterns"),
  role: TemplateName.describe("the role of the server that a grant of this permission becomes a member of"),
  owns: z
    .boolean()
    .default(false)
    .describe("sessions begin as that role (SET ROLE), so that what they create belongs to it"),
});

export const postgresUpstream = (actions: z.ZodType<Record<string, { risk: Risk }>>) =>
  strictObject({
    kind: z.literal("Upstream"),
    name: Name,
    type: z.literal("postgres"),
    environment: Name,
    origin: z
      .string()
      .refine(isPostgresOrigin, "expected the server's address like 'postgres://db.example.com:5432', with its port"),
    database: PostgresName,
    credential: strictObject({
      user: TemplateName.describe("the broker's own role: CREATEROLE, never a superuser"),
      secret: SecretReferenceText,
    }),
    tls: z.boolean().default(true).describe("false: the connection is neither secret nor proven; for loopback"),
    ca: NamedFile.optional().describe("PEM certificates to trust instead of the system's"),
    addresses: PrivateAddresses,
    session: strictObject({
      connections: z.int().min(1).max(MAX_CONNECTIONS).default(5).describe("at a time, of one grant"),
      statementTimeout: durationUpTo("24h").default("1m").describe("a default that a session can change"),
    }).prefault({}),
    actions,
    templates: z.array(Template).min(1).max(MAX_TEMPLATES),
  });

type Risk = "read" | "write" | "destructive" | "mints-credentials";

export type PostgresUpstreamDocument = z.infer<ReturnType<typeof postgresUpstream>>;
