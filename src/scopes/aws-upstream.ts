// Upstreams of type aws, from documents that are well-formed: what each permission stands for, as exact actions on ARNs, and
// the rules that tie this together. A permission without a mapping stands for nothing, and is refused.

import { type AwsStatement, mergeStatements } from "../core/aws-policy.ts";
import { findActionFault } from "./aws-actions.ts";
import type { AwsUpstreamDocument } from "./aws-document.ts";
import { secondsOf } from "./bounded-duration.ts";
import { matchResource, parseResourceTemplate } from "./resource-template.ts";
import type { Complain } from "./role-rules.ts";
import type { AwsMapping, AwsUpstream } from "./provider-upstreams.ts";

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, DurationSeconds. */
const CHAINED_SECONDS = 3600;
const PLACEHOLDER = /\{([^{}]*)\}/g;

export function toAwsUpstream(
  document: AwsUpstreamDocument,
  ca: string | null,
  complain: Complain,
): Omit<AwsUpstream, "actions"> {
  const { name, environment, region, role, externalId, through, credential, maxSession, probe, endpoints } = document;
  const mappings: AwsMapping[] = [];
  for (const [index, { action, resource, allow, on }] of document.mappings.entries()) {
    const path = ["mappings", index] as const;
    const declared = document.actions[action];
    if (declared === undefined)
      complain([...path, "action"], `expected an action that this upstream declares, found "${action}"`);
    for (const [at, each] of allow.entries()) {
      const fault = declared === undefined ? null : findActionFault(each, declared.risk);
      if (fault !== null) complain([...path, "allow", at], fault);
    }
    const template = parseResourceTemplate(resource);
    if ("problem" in template) {
      complain([...path, "resource"], template.problem);
      continue;
    }
    for (const [at, arn] of on.entries()) {
      const fault = findArnFault(arn, template.parameters);
      if (fault !== null) complain([...path, "on", at], fault);
    }
    mappings.push(Object.freeze({ action, template, allow: Object.freeze([...allow]), on: Object.freeze([...on]) }));
  }
  if (probe !== undefined) {
    const fault = /[{}]/.test(probe.on) ? "expected one ARN, without placeholders" : null;
    if (fault !== null) complain(["probe", "on"], fault);
    const risk = findActionFault(probe.allow, "read");
    if (risk !== null) complain(["probe", "allow"], risk);
  }
  if (endpoints === undefined) checkAccounts(document, complain);
  if (through.length > 0 && secondsOf(maxSession) > CHAINED_SECONDS)
    complain(["maxSession"], "expected at most 1h: AWS gives no longer session by way of another role");
  return {
    name,
    type: "aws",
    environment,
    region,
    role: Object.freeze({ arn: role, externalId: externalId ?? null }),
    through: Object.freeze(through.map((hop) => Object.freeze({ arn: hop.role, externalId: hop.externalId ?? null }))),
    secret: credential?.secret ?? null,
    // Where requests are signed for that the static key signs; the key itself goes nowhere.
    origin: endpoints?.sts ?? `https://sts.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`,
    endpoints: endpoints === undefined ? null : Object.freeze({ ...endpoints }),
    address: endpoints === undefined ? role : `${role} at ${endpoints.sts}`,
    maxSessionSeconds: secondsOf(maxSession),
    probe: probe === undefined ? null : Object.freeze({ ...probe }),
    ca,
    addresses: Object.freeze([...document.addresses]),
    mappings: Object.freeze(mappings),
  };
}

/** Its form is the document's matter. With a wildcard, or without one: it names all that the resource names, or it would give more than the grant has. */
function findArnFault(arn: string, parameters: readonly string[]): string | null {
  const used = [...arn.matchAll(PLACEHOLDER)].map(([, name = ""]) => name);
  if (/[{}]/.test(arn.replaceAll(PLACEHOLDER, ""))) return "expected each placeholder as '{name}'";
  const unknown = used.find((name) => !parameters.includes(name));
  if (unknown !== undefined) return `expected placeholders of \`resource\`, found "{${unknown}}"`;
  const left = parameters.find((name) => !used.includes(name));
  if (left !== undefined)
    return `expected "{${left}}" in it, as in \`resource\`: without it the session could do more than its grant`;
  return null;
}

/** Real AWS has an account in a role's ARN. */
function checkAccounts({ role, through }: AwsUpstreamDocument, complain: Complain): void {
  const lacks = (arn: string): boolean => arn.includes(":iam:::");
  const message = "expected the account's twelve digits in the ARN: they can be left out with `endpoints` alone";
  if (lacks(role)) complain(["role"], message);
  for (const [index, hop] of through.entries()) if (lacks(hop.role)) complain(["through", index, "role"], message);
}

/** All that a permission stands for at AWS; empty: nothing. */
export function statementsOf(
  { name, mappings }: Pick<AwsUpstream, "name" | "mappings">,
  action: string,
  resource: string,
): readonly AwsStatement[] {
  const found: AwsStatement[] = [];
  for (const mapping of mappings) {
    if (mapping.action !== action) continue;
    const values = matchResource(name, mapping.template, resource);
    if (values === null) continue;
    // INVARIANT: what a resource's name may be made of (`core/names.ts`) has no character that means something in an ARN.
    const resources = mapping.on.map((arn) => arn.replaceAll(PLACEHOLDER, (_all, key: string) => values[key] ?? ""));
    found.push({ actions: mapping.allow, resources });
  }
  return mergeStatements(found);
}
