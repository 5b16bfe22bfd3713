// Every route of the broker: method, path, who may call it, what goes in and what comes out.
// Server, SDK and OpenAPI are made from this one table; a route that is not here does not exist.

import type * as z from "zod";
import {
  AuditQuery,
  CheckpointAnswer,
  ClockAnswer,
  KeysAnswer,
  ReadyAnswer,
  RotateRequest,
  ScopesAnswer,
} from "./record.ts";
import {
  DecisionAnswer,
  DecisionRequest,
  EndRequest,
  Grant,
  GrantAnswer,
  GrantPage,
  GrantQuery,
  GrantRequest,
  WaitQuery,
} from "./grants.ts";
import { CanaryAnswer, CanaryList, CanaryRequest, SecretAnswer, SecretList, SecretRequest } from "./secrets.ts";
import { FreezeAnswer, FreezeRequest, RevocationAnswer, RevocationList, RevocationRequest } from "./revocations.ts";

export const POWERS = ["approve", "revoke", "audit", "administer"] as const;
export type Power = (typeof POWERS)[number];

/** Who may call. A route that names agents and powers admits either; agents only ever see what is theirs. */
export interface Who {
  readonly agents: boolean;
  readonly services: boolean;
  readonly powers: readonly Power[];
}

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Express and OpenAPI agree on `{name}`; `http/` translates. */
  readonly path: string;
  readonly summary: string;
  /** Null: public. */
  readonly who: Who | null;
  readonly query: z.ZodType | null;
  readonly body: z.ZodType | null;
  /** Status to schema. A string is a media type whose body has no JSON schema. */
  readonly answers: Readonly<Record<number, z.ZodType | string>>;
}

const agent = { agents: true, services: false, powers: [] } as const satisfies Who;
const agentOr = (...powers: Power[]): Who => ({ agents: true, services: false, powers });
const people = (...powers: Power[]): Who => ({ agents: false, services: false, powers });

export const ROUTES = {
  requestGrant: {
    method: "POST",
    path: "/v1/grants",
    summary: "ask for what one task needs; 201 with a credential, 200 for a dry run",
    who: agent,
    query: null,
    body: GrantRequest,
    answers: { 200: DecisionAnswer, 201: GrantAnswer },
  },
  listGrants: {
    method: "GET",
    path: "/v1/grants",
    summary: "list grants; an agent sees its own",
    who: agentOr("revoke", "audit"),
    query: GrantQuery,
    body: null,
    answers: { 200: GrantPage },
  },
  readGrant: {
    method: "GET",
    path: "/v1/grants/{id}",
    summary: "one grant; with wait, answers when it ends",
    who: agentOr("revoke", "audit"),
    query: WaitQuery,
    body: null,
    answers: { 200: Grant },
  },
  renewCredential: {
    method: "POST",
    path: "/v1/grants/{id}/credential",
    summary: "another short credential within the grant's life",
    who: agent,
    query: null,
    body: null,
    answers: { 201: GrantAnswer },
  },
  endGrant: {
    method: "DELETE",
    path: "/v1/grants/{id}",
    summary: "end a grant: its agent releases it, security ends it with a cut-off",
    who: agentOr("revoke"),
    query: null,
    body: EndRequest,
    answers: { 200: Grant },
  },
  decide: {
    method: "POST",
    path: "/v1/decisions",
    summary: "would this agent be allowed, and why; nothing is granted",
    who: people("audit"),
    query: null,
    body: DecisionRequest,
    answers: { 200: DecisionAnswer },
  },
  revoke: {
    method: "POST",
    path: "/v1/revocations",
    summary: "void everything that matches and was issued until this instant",
    who: people("revoke"),
    query: null,
    body: RevocationRequest,
    answers: { 201: RevocationAnswer },
  },
  listRevocations: {
    method: "GET",
    path: "/v1/revocations",
    summary: "the cut-offs in force and the frozen agents",
    who: { agents: false, services: true, powers: ["revoke", "audit"] },
    query: null,
    body: null,
    answers: { 200: RevocationList },
  },
  reopen: {
    method: "POST",
    path: "/v1/revocations/{id}/reopen",
    summary: "let a closed task or grant be asked for again; nothing revives",
    who: people("revoke"),
    query: null,
    body: FreezeRequest,
    answers: { 200: RevocationAnswer },
  },
  followRevocations: {
    method: "GET",
    path: "/v1/revocations/stream",
    summary: "the feed: snapshot, entries and heartbeats, numbered and signed",
    who: { agents: false, services: true, powers: ["revoke"] },
    query: null,
    body: null,
    answers: { 200: "text/event-stream" },
  },
  freeze: {
    method: "POST",
    path: "/v1/agents/{name}/freeze",
    summary: "end everything of an agent and give it nothing more",
    who: people("revoke"),
    query: null,
    body: FreezeRequest,
    answers: { 200: FreezeAnswer },
  },
  unfreeze: {
    method: "POST",
    path: "/v1/agents/{name}/unfreeze",
    summary: "let an agent ask again; never by its owner",
    who: people("revoke"),
    query: null,
    body: FreezeRequest,
    answers: { 200: FreezeAnswer },
  },
  readRecord: {
    method: "GET",
    path: "/v1/audit",
    summary: "the record as it is hashed, one canonical JSON entry a line",
    who: people("audit"),
    query: AuditQuery,
    body: null,
    answers: { 200: "application/x-ndjson" },
  },
  checkpoint: {
    method: "GET",
    path: "/v1/audit/checkpoint",
    summary: "the signed head of the record, to keep elsewhere",
    who: people("audit"),
    query: null,
    body: null,
    answers: { 200: CheckpointAnswer },
  },
  readScopes: {
    method: "GET",
    path: "/v1/scopes",
    summary: "digest and summary of the policy in force",
    who: people("audit"),
    query: null,
    body: null,
    answers: { 200: ScopesAnswer },
  },
  listKeys: {
    method: "GET",
    path: "/v1/keys",
    summary: "the broker's own signing keys, without anything secret",
    who: people("audit", "administer"),
    query: null,
    body: null,
    answers: { 200: KeysAnswer },
  },
  rotateKeys: {
    method: "POST",
    path: "/v1/keys/rotate",
    summary: "sign with a new key; with compromised, void the old one at once",
    who: people("administer"),
    query: null,
    body: RotateRequest,
    answers: { 200: KeysAnswer },
  },
  putSecret: {
    method: "PUT",
    path: "/v1/secrets/{name}",
    summary: "seal a root credential with the origins that it may be sent to; it is never read back",
    who: people("administer"),
    query: null,
    body: SecretRequest,
    answers: { 200: SecretAnswer },
  },
  listSecrets: {
    method: "GET",
    path: "/v1/secrets",
    summary: "names, origins and versions of root credentials, never their values",
    who: people("administer", "audit"),
    query: null,
    body: null,
    answers: { 200: SecretList },
  },
  deleteSecret: {
    method: "DELETE",
    path: "/v1/secrets/{name}",
    summary: "forget a root credential; calls that need it are refused from now on",
    who: people("administer"),
    query: null,
    body: null,
    answers: { 200: SecretAnswer },
  },
  addCanary: {
    method: "POST",
    path: "/v1/canaries",
    summary: "make a decoy key to leave where keys are looked for; its value is shown once",
    who: people("administer", "revoke"),
    query: null,
    body: CanaryRequest,
    answers: { 201: CanaryAnswer },
  },
  listCanaries: {
    method: "GET",
    path: "/v1/canaries",
    summary: "the decoys, never their values",
    who: people("administer", "revoke", "audit"),
    query: null,
    body: null,
    answers: { 200: CanaryList },
  },
  deleteCanary: {
    method: "DELETE",
    path: "/v1/canaries/{id}",
    summary: "forget a decoy; its value alerts nobody any more",
    who: people("administer", "revoke"),
    query: null,
    body: null,
    answers: { 200: CanaryList },
  },
  acknowledgeClock: {
    method: "POST",
    path: "/v1/clock/acknowledge",
    summary: "accept the wall clock after it jumped, so that minting goes on",
    who: people("administer"),
    query: null,
    body: null,
    answers: { 200: ClockAnswer },
  },
  keySet: {
    method: "GET",
    path: "/.well-known/jwks.json",
    summary: "public keys that verify credentials",
    who: null,
    query: null,
    body: null,
    answers: { 200: "application/json" },
  },
  recordKeySet: {
    method: "GET",
    path: "/.well-known/record-jwks.json",
    summary: "public keys that verify the feed and checkpoints",
    who: null,
    query: null,
    body: null,
    answers: { 200: "application/json" },
  },
  health: {
    method: "GET",
    path: "/healthz",
    summary: "the process runs",
    who: null,
    query: null,
    body: null,
    answers: { 200: "text/plain" },
  },
  ready: {
    method: "GET",
    path: "/readyz",
    summary: "the store answers and the clock is trusted",
    who: null,
    query: null,
    body: null,
    answers: { 200: ReadyAnswer, 503: ReadyAnswer },
  },
  openapi: {
    method: "GET",
    path: "/openapi.json",
    summary: "this table as OpenAPI 3.1",
    who: null,
    query: null,
    body: null,
    answers: { 200: "application/json" },
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof ROUTES;
