// The claims of a credential, read by hand: the schema of the wire contract costs a tenth of a first verification.
// INVARIANT: accepts and gives exactly what the schema `CredentialClaims` does; a property test holds the two together.

import { type CredentialClaims, DETAIL_TYPE } from "../api/claims.ts";

/** Null where the schema would refuse. Members that it does not know are left out. */
export function readClaims(payload: Readonly<Record<string, unknown>>): CredentialClaims | null {
  const { iss, sub, aud, client_id, iat, exp, jti, authorization_details, grants, task, role, environment, from } =
    payload as Readonly<Partial<Record<keyof CredentialClaims, unknown>>>;
  if (!isText(iss) || !isText(sub) || !isText(aud) || !isText(client_id) || !isText(task) || !isText(role)) return null;
  if (!isInteger(iat) || !isInteger(exp) || !isText(jti) || !jti.startsWith("crd_")) return null;
  if (!isTexts(grants) || grants.length === 0 || !grants.every((id) => id.startsWith("grt_"))) return null;
  if (!isTexts(environment) || environment.length === 0 || (from !== undefined && !isTexts(from))) return null;
  const details = readDetails(authorization_details);
  if (details === null) return null;
  const claims = { iss, sub, aud, client_id, iat, exp, jti, authorization_details: details, grants, task, role };
  // The schema's types are the template form of what `startsWith` has just shown.
  return { ...claims, environment, ...(from === undefined ? {} : { from }) };
}

type Details = CredentialClaims["authorization_details"];

function readDetails(value: unknown): Details | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const details: Details = [];
  for (const detail of value as readonly unknown[]) {
    if (typeof detail !== "object" || detail === null || Array.isArray(detail)) return null;
    const { type, actions, identifier } = detail as Readonly<Partial<Record<keyof Details[number], unknown>>>;
    if (type !== DETAIL_TYPE || !isTexts(actions) || actions.length === 0 || !isText(identifier)) return null;
    details.push({ type, actions, identifier });
  }
  return details;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText);
}
