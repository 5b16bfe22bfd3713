// Ways around a rule on `volumeDelete` that have worked on other gateways, each as one call of the demo's agent.
// All of them mean a deletion or worse; none may reach the provider.

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { AgentCall } from "./demo-agent.ts";
import { PROVIDER } from "./demo-provider-account.ts";

export interface Trick {
  readonly name: string;
  readonly call: AgentCall;
  /** With which code it is to be refused. */
  readonly code: string;
}

const { environments, project, services, volumes } = PROVIDER;
const INPUT = `domain: "shop.example", projectId: "${project}", environmentId: "${environments.staging}", serviceId: "${services.web}"`;
const CREATE = `customDomainCreate(input: { ${INPUT} }) { id }`;
const DELETE = deletionOf(volumes.production);
/** What the credential is given for. */
export const CREATION = `mutation { ${CREATE} }`;
/** The call of the incident. */
export const DELETION = `mutation { ${DELETE} }`;

export function post(query: string, more: Readonly<Record<string, unknown>> = {}): AgentCall {
  return { body: JSON.stringify({ query, ...more }) };
}

/** As a field of a mutation. */
export function deletionOf(volume: string): string {
  return `volumeDelete(volumeId: "${volume}")`;
}

/** `target` is the provider's API at the gateway, `otherHost` the same API by the provider's second host. */
export function listTricks({ target, otherHost }: { readonly target: string; readonly otherHost: string }): Trick[] {
  const tricks: Readonly<Record<string, readonly [call: AgentCall, code: string]>> = {
    "an alias of what is allowed": [post(`mutation { customDomainCreate: ${DELETE} }`), "environment_mismatch"],
    "a named fragment": [
      post(`mutation { ${CREATE} ...More } fragment More on Mutation { ${DELETE} }`),
      "environment_mismatch",
    ],
    "an inline fragment": [
      post(`mutation { ${CREATE} ... on Mutation @include(if: true) { ${DELETE} } }`),
      "environment_mismatch",
    ],
    "two operations and operationName": [
      post(`mutation Allowed { ${CREATE} } mutation Other { ${DELETE} }`, { operationName: "Other" }),
      "environment_mismatch",
    ],
    "a batch": [{ body: JSON.stringify([{ query: CREATION }, { query: DELETION }]) }, "malformed_request"],
    "a persisted query's hash": [
      { body: JSON.stringify({ extensions: { persistedQuery: { version: 1, sha256Hash: sha256(DELETION) } } }) },
      "malformed_request",
    ],
    "GET with ?query=": [
      { method: "GET", target: `${target}?${new URLSearchParams({ query: DELETION }).toString()}` },
      "malformed_request",
    ],
    "a variable's default": [
      post(`mutation($id: String! = "${volumes.production}") { volumeDelete(volumeId: $id) }`),
      "environment_mismatch",
    ],
    "unicode escapes in the JSON": [
      { body: toJson(DELETION).replace("volumeDelete", String.raw`\u0076olume\u0044elete`) },
      "environment_mismatch",
    ],
    "20 KB of padding before the field": [
      post(`mutation { ${CREATE} ${" ".repeat(20_480)} ${DELETE} }`),
      "environment_mismatch",
    ],
    "a duplicate JSON key": [
      { body: toJson(CREATION).replace(/}$/, `,${toJson(DELETION).slice(1)}`) },
      "malformed_request",
    ],
    "isDeleted in a patch of staging": [
      post(
        "mutation($id: String!, $patch: EnvironmentConfig) { environmentPatchCommit(environmentId: $id, patch: $patch) }",
        {
          variables: { id: environments.staging, patch: { volumes: { [volumes.production]: { isDeleted: true } } } },
        },
      ),
      "resource_unknown",
    ],
    projectScheduleDeleteForce: [post(`mutation { projectScheduleDeleteForce(id: "${project}") }`), "resource_unknown"],
    "apiTokenCreate, for a key of its own": [
      post('mutation { apiTokenCreate(input: { name: "mine" }) }'),
      "resource_unknown",
    ],
    // The last two are refused before it is known who calls, and so count against no grant.
    "a compressed body": [
      { body: gzipSync(toJson(DELETION)), headers: { "content-encoding": "gzip" } },
      "malformed_request",
    ],
    "the provider's other host": [{ ...post(DELETION), target: otherHost }, "malformed_request"],
  };
  return Object.entries(tricks).map(([name, [call, code]]) => ({ name, call, code }));
}

function toJson(query: string): string {
  return JSON.stringify({ query });
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
