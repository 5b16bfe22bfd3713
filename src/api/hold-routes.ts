// The routes of what waits. A part of the table in `routes.ts`.

import {
  ApprovalRequest,
  AttestationAnswer,
  AttestationRequest,
  CancelRequest,
  Hold,
  HoldAnswer,
  HoldPage,
  HoldQuery,
  HoldWaitQuery,
  OutcomeAnswer,
} from "./holds.ts";
import { agent, agentOr, people, type Route } from "./route.ts";

export const HOLD_ROUTES = {
  listHolds: {
    method: "GET",
    path: "/v1/holds",
    summary: "what waits, and what became of it; an agent sees its own",
    who: agentOr("approve", "revoke"),
    query: HoldQuery,
    body: null,
    answers: { 200: HoldPage },
  },
  readHold: {
    method: "GET",
    path: "/v1/holds/{id}",
    summary: "one request as a person reads it, what is missing and what to sign; with wait, answers when it has ended",
    who: agentOr("approve", "revoke"),
    query: HoldWaitQuery,
    body: null,
    answers: { 200: HoldAnswer },
  },
  signHold: {
    method: "POST",
    path: "/v1/holds/{id}/approvals",
    summary: "one person's signature over the hold's digest: approve, or deny and so end it",
    who: people("approve"),
    query: null,
    body: ApprovalRequest,
    answers: { 201: Hold },
  },
  cancelHold: {
    method: "DELETE",
    path: "/v1/holds/{id}",
    summary: "stop it; nothing has happened yet",
    who: agentOr("approve", "revoke"),
    underAnyPolicy: true,
    query: null,
    body: CancelRequest,
    answers: { 200: Hold },
  },
  readOutcome: {
    method: "GET",
    path: "/v1/holds/{id}/outcome",
    summary: "what the upstream answered to a call that was held; once",
    who: agent,
    query: null,
    body: null,
    answers: { 200: OutcomeAnswer },
  },
  attest: {
    method: "POST",
    path: "/v1/attestations",
    summary: "a signed statement on a backup, by an agent that is registered to attest it",
    who: agent,
    query: null,
    body: AttestationRequest,
    answers: { 201: AttestationAnswer },
  },
} as const satisfies Record<string, Route>;
