// Whether the signature in an entry stands for that person, that hold and that decision, by what the record alone says
// (semantics, rules 20 to 23). Pure. That the key is really the person's it cannot know: it says which one was used.

import { isSignedBy, MAX_APPROVAL_AGE_MS, parseApproval } from "../core/approval.ts";
import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import type { ApprovalClaims, HoldDocument } from "../core/hold-document.ts";
import type { HoldId } from "../core/ids.ts";
import { thumbprint } from "../core/thumbprint.ts";
import { type HoldEntry, isFields, readKey, readNames, readPerson } from "./hold-entries.ts";

/** What must have been signed, and by whom it could be. */
export interface SignableHold {
  readonly id: HoldId;
  readonly digest: string;
  readonly requestedAt: Instant;
  readonly document: Pick<HoldDocument, "agents">;
  readonly approvers: readonly string[];
}

export interface SignedEntry {
  readonly person: string;
  readonly teams: readonly string[];
  /** RFC 7638 thumbprint. */
  readonly key: string;
}

/** `isVerified`: the signature is good, and something else is not. */
export type JudgedSignature = SignedEntry | { readonly fault: string; readonly isVerified: boolean };

export function judgeSignature(
  { fields, at }: HoldEntry,
  hold: SignableHold,
  decision: ApprovalClaims["decision"],
): JudgedSignature {
  const person = readPerson(fields["person"]);
  const teams = readNames(fields["teams"]);
  const key = readKey(fields["key"]);
  if (person === null || teams === null || key === null)
    return { fault: "it does not say who signed, of which teams, with which key", isVerified: false };
  const fault = findSignatureFault(fields["signature"], key, hold, decision, at);
  if (fault !== null) return { fault, isVerified: false };
  const ineligible = findIneligible(person, hold);
  if (ineligible !== null) return { fault: ineligible, isVerified: true };
  if (fields["decision"] !== decision) return { fault: "its type and its decision differ", isVerified: true };
  return { person, teams, key: thumbprint(key) };
}

function findIneligible(person: string, { document, approvers }: SignableHold): string | null {
  if (document.agents.some(({ owner }) => owner === person)) return `${person} owns the agent that asks`;
  return approvers.includes(person) ? null : `${person} could not approve it when it was requested`;
}

/** By this key, over this hold and this decision, made just before it was written down. */
function findSignatureFault(
  signature: unknown,
  key: Readonly<Record<string, string>>,
  { id, digest, requestedAt }: SignableHold,
  decision: ApprovalClaims["decision"],
  at: Instant,
): string | null {
  if (!isFields(signature) || signature["kind"] !== "jws" || typeof signature["value"] !== "string")
    return "it has no signature of a kind that can be verified";
  const parsed = parseApproval(signature["value"]);
  if ("fault" in parsed) return parsed.fault;
  if (!isSignedBy(parsed, key)) return "its signature is not by the key that is recorded with it";
  const { claims } = parsed;
  if (claims.hold !== id) return "what was signed is another hold";
  if (claims.digest !== digest) return "what was signed is another request than was made";
  if (claims.decision !== decision) return `what was signed is to ${claims.decision}`;
  if (parsed.at < requestedAt - CLOCK_TOLERANCE_MS) return "it was signed before the request was made";
  if (parsed.at > at + CLOCK_TOLERANCE_MS || parsed.at < at - MAX_APPROVAL_AGE_MS - CLOCK_TOLERANCE_MS)
    return "it was not signed in the ten minutes before it was recorded";
  return null;
}
