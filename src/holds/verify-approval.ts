// Whether a signature stands for this person, this hold and this decision: once when it is sent, and again before anything
// fires (semantics, rule 23). It reads keys from policy alone, and never trusts what was found earlier.

import { isSignedBy, MAX_APPROVAL_AGE_MS, type ParsedApproval, parseApproval } from "../core/approval.ts";
import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type ApprovalClaims, digestOfHold } from "../core/hold-document.ts";
import type { HoldId } from "../core/ids.ts";
import { thumbprint } from "../core/thumbprint.ts";
import type { Person, PublicJwk, ScopeSet } from "../scopes/scope-set.ts";
import type { StoredApproval, StoredHold } from "./hold.ts";
import { ownersOf } from "./owners.ts";

/** What the signature must be for. */
export interface ExpectedApproval {
  readonly person: Person;
  readonly hold: HoldId;
  readonly digest: string;
  readonly decision: ApprovalClaims["decision"];
  readonly requestedAt: Instant;
  readonly now: Instant;
}

export interface VerifiedApproval {
  /** RFC 7638 thumbprint of the key that signed. */
  readonly key: string;
  readonly jwk: PublicJwk;
}

/** Throws `approval_invalid`. Whether the person may sign for this request is not looked at. */
export async function verifyApproval(jws: string, expected: ExpectedApproval): Promise<VerifiedApproval> {
  const approval = parseApproval(jws);
  if ("fault" in approval) return refuse(approval.fault);
  checkClaims(approval, expected);
  checkTime(approval.at, expected);
  const jwk = expected.person.keys.find((key) => isSignedBy(approval, key));
  if (jwk === undefined) return refuse("it is not by a key that is registered for this person");
  return { key: thumbprint(jwk), jwk };
}

function refuse(detail: string): never {
  throw new BrokerError("approval_invalid", detail);
}

/** The most telling difference first: another hold has another digest, too. */
function checkClaims({ claims }: ParsedApproval, { hold, digest, decision }: ExpectedApproval): void {
  if (claims.hold !== hold) refuse("it is for another hold");
  if (claims.digest !== digest) refuse("it is over another request than the one that waits: read the hold again");
  if (claims.decision !== decision) refuse(`it says ${claims.decision} where ${decision} was sent with it`);
}

function checkTime(at: Instant, { requestedAt, now }: ExpectedApproval): void {
  if (at < requestedAt - CLOCK_TOLERANCE_MS) refuse("it was signed before the request was made");
  // No tolerance: ten minutes are some already.
  if (at < now - MAX_APPROVAL_AGE_MS)
    refuse(`it was signed more than ${MAX_APPROVAL_AGE_MS / 60_000} minutes ago: sign again, or compare the clocks`);
  if (at > now + CLOCK_TOLERANCE_MS) refuse("it is from the future: compare the clocks of signer and broker");
}

/**
 * When it was signed, where the signature holds over the stored request, its key was the person's at the request and is today, and the
 * person could sign then and may today. Age and teams are as they were at signing; null where it does not count. Never throws.
 */
export async function signatureStillCounts(
  approval: StoredApproval,
  hold: StoredHold,
  scopes: ScopeSet,
): Promise<Instant | null> {
  const person = scopes.principals.get(approval.person);
  if (person?.kind !== "Person" || !person.powers.has("approve")) return null;
  if (ownersOf(hold, scopes).includes(person.name)) return null;
  const atRequest = hold.approvers.find((approver) => approver.person === person.name);
  if (atRequest?.keys.includes(approval.key) !== true) return null;
  const jwk = person.keys.find((key) => thumbprint(key) === approval.key);
  if (jwk === undefined) return null;
  const parsed = parseApproval(approval.signature);
  if ("fault" in parsed || !isSignedBy(parsed, jwk)) return null;
  const { claims } = parsed;
  // Of the document that will be acted on, not of a column beside it.
  const digest = digestOfHold(hold.document);
  const isWhole =
    hold.digest === digest &&
    hold.document.hold === hold.id &&
    claims.hold === hold.id &&
    claims.digest === digest &&
    claims.decision === approval.decision;
  return isWhole ? Date.parse(claims.at) : null;
}
