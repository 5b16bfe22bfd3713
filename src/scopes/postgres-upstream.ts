// Upstreams of type postgres, from documents that are well-formed: which roles of the server each permission stands for, and
// the rules that tie this together. A permission without a role stands for nothing, and is refused.

import { isResource } from "../core/names.ts";
import { secondsOf } from "./bounded-duration.ts";
import { freezeMap } from "./frozen.ts";
import type { PostgresUpstreamDocument } from "./postgres-document.ts";
import type { Complain } from "./role-rules.ts";
import type { PostgresUpstream, TemplateRole } from "./provider-upstreams.ts";

/** The key under which an upstream has what a permission stands for. */
export function templateKey(action: string, resource: string): string {
  return `${action} ${resource}`;
}

export function toPostgresUpstream(
  document: PostgresUpstreamDocument,
  ca: string | null,
  complain: Complain,
): Omit<PostgresUpstream, "actions"> {
  const { name, environment, origin, database, credential, tls, addresses, session } = document;
  const templates = new Map<string, readonly TemplateRole[]>();
  for (const [index, { action, resource: path, role, owns }] of document.templates.entries()) {
    const resource = `${name}:${path}`;
    if (!isResource(resource)) {
      complain(
        ["templates", index, "resource"],
        "expected one resource's path like 'database/shop', without the upstream's name and without '*'",
      );
    }
    if (document.actions[action] === undefined)
      complain(["templates", index, "action"], `expected an action that this upstream declares, found "${action}"`);
    if (role === credential.user)
      complain(["templates", index, "role"], "expected another role than the broker's own: it can make others");
    const key = templateKey(action, resource);
    templates.set(key, Object.freeze([...(templates.get(key) ?? []), Object.freeze({ role, owns })]));
  }
  if (!tls && ca !== null) complain(["ca"], "expected no `ca` where `tls` is false: nothing is verified");
  return {
    name,
    type: "postgres",
    environment,
    origin,
    database,
    address: `${origin}/${database}`,
    user: credential.user,
    secret: credential.secret,
    tls,
    ca,
    addresses: Object.freeze([...addresses]),
    session: Object.freeze({
      connections: session.connections,
      statementTimeoutMs: secondsOf(session.statementTimeout) * 1000,
    }),
    templates: freezeMap(templates),
  };
}
