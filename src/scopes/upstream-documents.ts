// The schemas of upstreams, one per type: a service that verifies our JWTs, the two kinds that stand behind the gateway, and
// in files of their own those whose own credentials the broker mints. What templates, selections and expressions in them mean is compiled in `upstreams.ts`. No I/O.

import * as z from "zod";
import { Origin } from "../api/secrets.ts";
import { Action, Name } from "../api/values.ts";
import { isPlainText } from "../core/names.ts";
import { awsUpstream } from "./aws-document.ts";
import { CaseDocument } from "./argument-rules.ts";
import { durationUpTo } from "./bounded-duration.ts";
import { findHeaderFault, findSentHeaderFault, METHOD_OVERRIDE_PARAMETER } from "./header-names.ts";
import { NamedFile, PrivateAddresses, SecretReferenceText } from "./outgoing.ts";
import { postgresUpstream } from "./postgres-document.ts";
import { oneOrMany, strictObject } from "./strict-object.ts";

const MAX_ACTIONS = 1000;
const MAX_OPERATIONS = 1000;
const MAX_RESOLVERS = 100;
const MAX_CASES = 100;
const MAX_NAMES = 64;
const MAX_CREDENTIAL_HEADERS = 8;
const MAX_RESOURCES = 8;
const MAX_ORIGINS = 16;
const MAX_SELECTION_LENGTH = 20_000;
const MAX_QUERY_LENGTH = 10_000;
const MAX_PATH_LENGTH = 1024;
const MAX_PROVIDER_ID_LENGTH = 200;
const MAX_BATCH = 50;
const MEBIBYTE = 1024 * 1024;

const eachOnce = (items: readonly string[]): boolean => new Set(items).size === items.length;
const text = (most: number) => z.string().min(1).max(most);

/** A message that the check itself has. */
const checked = (findFault: (value: string) => string | null) =>
  z.string().superRefine((value, context) => {
    const fault = findFault(value);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  });

const list = <Item extends z.ZodType<string>>(item: Item, most: number) =>
  z.array(item).max(most).refine(eachOnce, "expected each once");

const Actions = z
  .record(Action, strictObject({ risk: z.enum(["read", "write", "destructive", "mints-credentials"]) }))
  .refine((actions) => Object.keys(actions).length > 0, "expected at least one action, found none")
  .refine((actions) => Object.keys(actions).length <= MAX_ACTIONS, `expected at most ${MAX_ACTIONS} actions`);

function isAudience(audience: string): boolean {
  if (/[\s#\\]/.test(audience) || !URL.canParse(audience)) return false;
  const url = new URL(audience);
  return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" && url.password === "";
}

const ServiceUpstream = strictObject({
  kind: z.literal("Upstream"),
  name: Name,
  type: z.literal("service"),
  audience: z
    .string()
    .max(2048)
    .refine(isAudience, "expected an absolute http or https URL without fragment and user name"),
  environment: Name,
  actions: Actions,
});

const PlaceName = z
  .string()
  .regex(/^[A-Za-z0-9_.~-]{1,64}$/, "expected a name of letters, digits, '_', '.', '~' or '-'");

const Place = strictObject({
  header: checked(findHeaderFault).optional(),
  prefix: z
    .string()
    .regex(/^[\x21-\x7e][\x20-\x7e]{0,31}$/, "expected up to 32 visible characters")
    .optional()
    .describe("what stands before the credential in the header, its space included: 'Bearer '"),
  query: PlaceName.optional(),
  body: PlaceName.optional().describe("a member of the JSON or form body"),
  basic: strictObject({
    username: z
      .string()
      .regex(/^[\x21-\x39\x3b-\x7e]{1,128}$/, "expected a user name without ':'")
      .optional(),
    secretIs: z.literal("username").optional(),
  })
    .refine((basic) => Object.values(basic).length === 1, "expected one of username and secretIs")
    .optional(),
})
  .refine(
    ({ header, query, body, basic }) => [header, query, body, basic].filter((one) => one !== undefined).length === 1,
    "expected one of header, query, body and basic",
  )
  .refine(
    ({ header, prefix }) => prefix === undefined || header !== undefined,
    "expected `prefix` beside `header` alone",
  );

const Limits = strictObject({
  requestBytes: z
    .int()
    .min(1)
    .max(32 * MEBIBYTE)
    .default(MEBIBYTE),
  responseBytes: z
    .int()
    .min(1)
    .max(1024 * MEBIBYTE)
    .default(32 * MEBIBYTE),
  timeout: durationUpTo("5m").default("30s"),
});

const ProviderId = z
  .string()
  .refine(
    (id) => isPlainText(id, MAX_PROVIDER_ID_LENGTH),
    `expected a provider's id: 1 to ${MAX_PROVIDER_ID_LENGTH} printable characters`,
  );

const Resolver = strictObject({
  resource: text(MAX_PATH_LENGTH),
  query: text(MAX_QUERY_LENGTH).optional(),
  get: text(MAX_PATH_LENGTH).optional(),
  same: z.record(text(64), z.string()).describe("parameter -> JMESPath: the answer must repeat what was asked"),
  labels: z.record(Name, z.string()).describe("label -> JMESPath"),
  more: z.string().optional().describe("JMESPath: whether there are further pages"),
  cache: durationUpTo("5m").default("30s"),
});

/** What both kinds of operations say alike. */
const meaning = {
  action: Action,
  resource: oneOrMany(text(MAX_PATH_LENGTH), MAX_RESOURCES),
  absent: text(MAX_PATH_LENGTH).optional().describe("the resource that is meant where an argument is absent"),
  cases: z.array(CaseDocument).max(MAX_CASES).default([]),
  idempotent: z
    .boolean()
    .default(false)
    .describe("sent twice it does what it does once, by the provider's promise: an unknown end may be tried again"),
};

/** What both types behind the gateway say alike. */
const behindGateway = {
  origins: z
    .array(Origin)
    .min(1)
    .max(MAX_ORIGINS)
    .refine(eachOnce, "expected each origin once")
    .describe("the one list for matching, injecting and connecting; the first is the default"),
  credential: strictObject({
    secret: SecretReferenceText,
    place: Place,
  }),
  credentialHeaders: list(
    checked((name) => (name === "authorization" ? null : findHeaderFault(name))),
    MAX_CREDENTIAL_HEADERS,
  )
    .min(1)
    .default(["authorization"])
    .describe("where clients bring the credential of their grant"),
  headers: list(checked(findSentHeaderFault), MAX_NAMES).default(["accept", "user-agent"]).describe("sent on"),
  addresses: PrivateAddresses,
  ca: NamedFile.optional().describe("PEM certificates to trust instead of the system's"),
  limits: Limits.prefault({}),
  environments: z.record(ProviderId, Name).default({}).describe("the provider's id of an environment -> ours"),
  actions: Actions,
};

const resolve = z.array(Resolver).max(MAX_RESOLVERS).default([]);

const QueryParameter = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, "expected the name of a query parameter")
  .refine(
    (name) => name !== METHOD_OVERRIDE_PARAMETER,
    "expected another parameter: this one lets a call be another than the one that was judged",
  );

const HttpOperation = strictObject({
  call: z
    .string()
    .max(MAX_PATH_LENGTH)
    .regex(/^(?:GET|HEAD|POST|PUT|PATCH|DELETE) \//, "expected a method and a path like 'GET /v1/volumes/{id}'"),
  ...meaning,
  query: list(QueryParameter, MAX_NAMES).default([]).describe("query parameters that may be sent"),
  headers: list(checked(findSentHeaderFault), MAX_NAMES).default([]).describe("besides those of the upstream"),
  body: z.enum(["none", "json", "form", "bytes"]).default("none"),
  origin: Origin.optional(),
});

const HttpUpstream = strictObject({
  kind: z.literal("Upstream"),
  name: Name,
  type: z.literal("http"),
  ...behindGateway,
  operations: z.array(HttpOperation).min(1).max(MAX_OPERATIONS),
  resolve,
});

const FieldName = z.string().regex(/^[_A-Za-z][_0-9A-Za-z]{0,99}$/, "expected the name of a root field");

const GraphqlOperation = strictObject({
  query: FieldName.optional(),
  mutation: FieldName.optional(),
  subscription: FieldName.optional(),
  ...meaning,
  select: text(MAX_SELECTION_LENGTH).optional().describe("what may be selected below; left out: nothing"),
}).refine(
  ({ query, mutation, subscription }) =>
    [query, mutation, subscription].filter((field) => field !== undefined).length === 1,
  "expected one of query, mutation and subscription",
);

const GraphqlUpstream = strictObject({
  kind: z.literal("Upstream"),
  name: Name,
  type: z.literal("graphql"),
  ...behindGateway,
  path: z
    .string()
    .max(MAX_PATH_LENGTH)
    .regex(
      /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+$/,
      "expected a canonical path like '/graphql', without encoding",
    ),
  schema: NamedFile.optional().describe("the provider's schema (SDL): documents are validated too"),
  accepts: strictObject({
    get: z.boolean().default(false),
    persisted: z.boolean().default(false),
    batch: z.int().min(1).max(MAX_BATCH).default(1),
  }).prefault({}),
  operations: z.array(GraphqlOperation).min(1).max(MAX_OPERATIONS),
  resolve,
});

export const UpstreamDocument = z.discriminatedUnion("type", [
  ServiceUpstream,
  HttpUpstream,
  GraphqlUpstream,
  postgresUpstream(Actions),
  awsUpstream(Actions),
]);

export type HttpUpstreamDocument = z.infer<typeof HttpUpstream>;
export type GraphqlUpstreamDocument = z.infer<typeof GraphqlUpstream>;
export type GatewayUpstreamDocument = HttpUpstreamDocument | GraphqlUpstreamDocument;
export type ResolverDocument = GatewayUpstreamDocument["resolve"][number];
