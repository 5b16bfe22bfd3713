// What of AWS a definition may hand out, and how dangerous an action is at least, told by its name: a definition can call it
// worse, never better. Pure.
// https://docs.aws.amazon.com/service-authorization/latest/reference/

import type { Risk } from "./scope-set.ts";

/** One action by its exact name. */
export function isAwsAction(text: string): boolean {
  return /^[a-z][a-z0-9-]{1,62}:[A-Za-z][A-Za-z0-9]{1,127}$/.test(text);
}

/** Services whose actions hand out rights or other sessions: no session of an agent's has any of them. */
const NEVER = new Set(["sts", "iam"]);

/** What answers with a secret or a credential. */
const MINTS = new Set(
  [
    "cognito-identity:GetCredentialsForIdentity",
    "cognito-identity:GetOpenIdToken",
    "codeartifact:GetAuthorizationToken",
    "ecr:GetAuthorizationToken",
    "kms:Decrypt",
    "lightsail:GetInstanceAccessDetails",
    "rds-db:connect",
    "redshift:GetClusterCredentials",
    "redshift:GetClusterCredentialsWithIAM",
    "secretsmanager:BatchGetSecretValue",
    "secretsmanager:GetSecretValue",
    "signin:CreateOAuth2Token",
    "sso:GetRoleCredentials",
  ].map((action) => action.toLowerCase()),
);

const READS = /^(?:Get|List|Head|Describe|BatchGet|Query|Scan|Search|Select|Lookup|Check|Estimate|Receive)/;
/** Somewhere in the name: `ScheduleKeyDeletion`, `PutLifecycleConfiguration`, `AbortMultipartUpload`. */
const DESTROYS =
  /Delet|Terminat|Purge|Destroy|Remov|Lifecycle|Deregister|Revoke|Reset|Truncate|Disable|PutBucketPolicy/;

const RANKS: readonly Risk[] = ["read", "write", "destructive", "mints-credentials"];

/** Why this action must not stand for one of `risk`; null where it may. */
export function findActionFault(action: string, risk: Risk): string | null {
  const [service = "", name = ""] = action.split(":");
  if (NEVER.has(service)) return `expected no action of ${service}, found "${action}": it hands out rights or sessions`;
  const least = leastRisk(action, name);
  if (RANKS.indexOf(risk) >= RANKS.indexOf(least)) return null;
  return `expected an action whose risk is ${least} or worse, found "${risk}": by its name "${action}" is ${least}`;
}

function leastRisk(action: string, name: string): Risk {
  if (MINTS.has(action.toLowerCase())) return "mints-credentials";
  if (DESTROYS.test(name)) return "destructive";
  return READS.test(name) ? "read" : "write";
}
