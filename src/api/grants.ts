// The wire contract of grants: what an agent asks for and what it gets.

import * as z from "zod";
import { Demand, Hold, HoldIdText } from "./holds.ts";
import {
  Action,
  DurationText,
  GrantIdText,
  Name,
  Permission,
  QueryNumber,
  ReasonBody,
  ReasonText,
  Resource,
  Task,
  Timestamp,
} from "./values.ts";

/** More permissions than one task needs; bounds the size of a JWT and of an event. */
const MAX_PERMISSIONS = 32;
const MAX_PAGE = 500;
const MAX_WAIT_SECONDS = 60;

export const GrantRequest = z.strictObject({
  task: Task,
  permissions: z.array(Permission).min(1).max(MAX_PERMISSIONS),
  role: Name.optional(),
  ttl: DurationText.optional(),
  reason: ReasonText.optional(),
  dryRun: z.boolean().optional(),
});
export type GrantRequest = z.infer<typeof GrantRequest>;

const GrantStatus = z.enum(["held", "active", "ended"]);

export const Grant = z.object({
  id: GrantIdText,
  agent: Name,
  owner: Name.nullable(),
  task: Task,
  role: Name,
  upstream: Name,
  permissions: z.array(z.object({ action: Action, resource: Resource, environments: z.array(Name) })),
  environments: z.array(Name),
  crossingFrom: z.array(Name).nullable(),
  status: GrantStatus,
  /** Why it is no longer active: by whom, by which cut-off, by its hold, or by expiry. */
  endedBy: z.string().nullable(),
  /** What it waits or waited for; null where it was given at once. */
  hold: HoldIdText.nullable(),
  /** Of the request. */
  issuedAt: Timestamp,
  /** Null while it is held: its life starts when it becomes active. */
  endsAt: Timestamp.nullable(),
  ttlSeconds: z.int(),
  credentialTtlSeconds: z.int(),
  parents: z.array(GrantIdText),
  policyDigest: z.string(),
  version: z.int(),
});
export type Grant = z.infer<typeof Grant>;

/** For services, and for what is behind the gateway. */
export const JwtCredential = z.object({
  id: z.string(),
  kind: z.literal("jwt"),
  /** The secret: a compact JWS, RFC 9068. */
  value: z.string(),
  audience: z.string(),
  expiresAt: Timestamp,
});
export type JwtCredential = z.infer<typeof JwtCredential>;

/** A login role of a PostgreSQL server, for as long as the grant lives. */
export const PostgresCredential = z.object({
  id: z.string(),
  kind: z.literal("postgres"),
  host: z.string(),
  port: z.int(),
  database: z.string(),
  user: z.string(),
  /** The secret. */
  password: z.string(),
  /** False: the connection has no TLS. */
  tls: z.boolean(),
  /** PEM certificates to trust instead of the system's; null: the system's. */
  ca: z.string().nullable(),
  expiresAt: Timestamp,
});
export type PostgresCredential = z.infer<typeof PostgresCredential>;

/** A session of an AWS role. */
export const AwsCredential = z.object({
  id: z.string(),
  kind: z.literal("aws"),
  region: z.string(),
  accessKeyId: z.string(),
  /** The secrets. */
  secretAccessKey: z.string(),
  sessionToken: z.string(),
  /** Of a long grant there is another one after it. */
  expiresAt: Timestamp,
});
export type AwsCredential = z.infer<typeof AwsCredential>;

export const Credential = z.discriminatedUnion("kind", [JwtCredential, PostgresCredential, AwsCredential]);
export type Credential = z.infer<typeof Credential>;

/** 201: the grant and its first credential. */
export const GrantAnswer = z.object({ grant: Grant, credential: Credential });
export type GrantAnswer = z.infer<typeof GrantAnswer>;

/** 202: what was asked waits. There is no credential until the grant is active. */
export const HeldAnswer = z.object({ grant: Grant, hold: Hold });
export type HeldAnswer = z.infer<typeof HeldAnswer>;

/** 200 to a dry run or a decision: what would happen. Nothing was granted. */
export const DecisionAnswer = z.object({
  outcome: z.enum(["allowed", "held", "refused"]),
  role: Name.nullable(),
  upstream: Name.nullable(),
  environments: z.array(Name),
  ttlSeconds: z.int().nullable(),
  /** What it would wait for; empty unless held. */
  demands: z.array(Demand).readonly(),
  reasons: z.array(ReasonBody).readonly(),
  /** Behind the gateway: what each call waits for, and why it could never be made; null where calls go through at once. */
  calls: z.object({ demands: z.array(Demand).readonly(), reasons: z.array(ReasonBody).readonly() }).nullable(),
  policyDigest: z.string(),
});
export type DecisionAnswer = z.infer<typeof DecisionAnswer>;

export const GrantQuery = z.strictObject({
  agent: Name.optional(),
  task: Task.optional(),
  role: Name.optional(),
  environment: Name.optional(),
  upstream: Name.optional(),
  status: GrantStatus.optional(),
  /** `next` of the page before. */
  after: GrantIdText.optional(),
  limit: QueryNumber(1, MAX_PAGE).optional(),
});
export type GrantQuery = z.infer<typeof GrantQuery>;

export const GrantPage = z.object({ grants: z.array(Grant), next: GrantIdText.nullable() });
export type GrantPage = z.infer<typeof GrantPage>;

/** `?wait=30`: answer when the grant is no longer held, or no longer active, or after so many seconds. */
export const WaitQuery = z.strictObject({
  wait: QueryNumber(0, MAX_WAIT_SECONDS).optional(),
  /** Wait only while it has this status; left out: the one that it has when it is asked. */
  while: z.enum(["held", "active"]).optional(),
});

export const EndRequest = z.strictObject({ reason: ReasonText.optional() });

/** `POST /v1/decisions`: would this agent be allowed, and why. */
export const DecisionRequest = z.strictObject({
  agent: Name,
  permissions: z.array(Permission).min(1).max(MAX_PERMISSIONS),
  role: Name.optional(),
  ttl: DurationText.optional(),
});
