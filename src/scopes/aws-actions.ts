// What of AWS a definition may hand out, and how dangerous an action is at least, told by its name, in any
// case, as IAM takes it: a definition can call it worse, never better. Pure.
// https://docs.aws.amazon.com/service-authorization/latest/reference/

import type { Risk } from "./scope-set.ts";

/** One action by its exact name. */
export function isAwsAction(text: string): boolean {
  return /^[a-z][a-z0-9-]{1,62}:[A-Za-z][A-Za-z0-9]{1,127}$/.test(text);
}

/** Services whose actions hand out rights, identities or other sessions: no session of an agent's has any of them. */
const NEVER = new Set([
  "sts",
  "iam",
  "account",
  "identitystore",
  "organizations",
  "rolesanywhere",
  "signin",
  "sso",
  "sso-directory",
  "sso-oauth",
]);

/** What answers with a secret or a credential, or lets somebody in: by the name of what, and where the name says nothing. */
const MINTS =
  /Credential|Password|SecretValue|AuthorizationToken|AuthToken|AccessToken|FederationToken|IdentityToken|OpenIdToken|OAuth|SessionToken|Presigned|KeyPair|AccessKey|ApiKey|SSHPublicKey|LoginProfile|InstanceAccess/i;
const LETS_IN = new Set(["rds-db:connect", "dsql:dbconnect", "dsql:dbconnectadmin", "elasticache:connect"]);
/** These name a secret, and do not give it. */
const ABOUT = /^(?:Describe|List|Delete)/i;

const READS = /^(?:Get|List|Head|Describe|BatchGet|Query|Scan|Search|Select|Lookup|Check|Estimate|Receive)/i;
/** Somewhere in the name: `ScheduleKeyDeletion`, `PutLifecycleConfiguration`, `AbortMultipartUpload`. */
const DESTROYS =
  /Delet|Terminat|Purge|Destroy|Remov|Lifecycle|Deregister|Revoke|Reset|Truncate|Disable|Abort|Bypass|BatchWrite/i;
/** Changes who may do what, or how long things are kept: worse than it looks. */
const GIVES = /(?:Policy|Policies|Acl|Permissions?|Grants?)$/i;
/** Does what its caller writes down, whatever that is: SQL, commands. */
const EXECUTES = /^Execute|^BatchExecute|SendCommand|StartSession/i;

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
  if (LETS_IN.has(action.toLowerCase()) || (MINTS.test(name) && !ABOUT.test(name))) return "mints-credentials";
  if (READS.test(name)) return "read";
  return DESTROYS.test(name) || GIVES.test(name) || EXECUTES.test(name) ? "destructive" : "write";
}
