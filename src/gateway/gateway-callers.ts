// Who calls the gateway, by which credential, and whether a decoy came with it. Before the rest of a request is looked
// at, so that whatever is refused of it has a name on record.

import type { IncomingMessage } from "node:http";
import { BrokerError } from "../core/errors.ts";
import { gatewayAudience } from "../credentials/jwt.ts";
import type { VerifiedCredential } from "../credentials/verify-jwt.ts";
import type { GatewayUpstream, ScopeSet } from "../scopes/scope-set.ts";
import { findCredential } from "./find-credential.ts";
import type { GatewayDependencies, ProxiedCall } from "./gateway.ts";
import type { InboundCall } from "./inbound-call.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

export function findUpstream(scopes: ScopeSet, name: string): GatewayUpstream {
  const upstream = scopes.upstreams.get(name);
  if (upstream !== undefined && isBehindGateway(upstream)) return upstream;
  throw new BrokerError("not_found", "the policy in force has no upstream of this name behind the gateway");
}

/** By a credential made out to this very upstream. A decoy alerts whether there is one or not (rule 17). */
export async function identify(
  dependencies: GatewayDependencies,
  call: ProxiedCall,
): Promise<{ readonly upstream: GatewayUpstream; readonly bearer: VerifiedCredential }> {
  const { decoys, alarms, verifier, issuer, refusals } = dependencies;
  const decoy = decoys.find(textsOf(call.message));
  const alarm = (agent: string | null): Promise<BrokerError> =>
    decoy === null
      ? Promise.reject(new TypeError("no decoy was presented"))
      : alarms.decoyPresented(decoy, agent, routeOf(call), call.request);
  let found: { readonly upstream: GatewayUpstream; readonly bearer: VerifiedCredential };
  try {
    const upstream = findUpstream(dependencies.policy(), call.upstream);
    const credential = findCredential(credentialsIn(call.message, upstream), upstream.credentialHeaders);
    found = { upstream, bearer: await verifier.verify(credential, gatewayAudience(issuer, upstream.name)) };
  } catch (thrown) {
    if (decoy !== null) throw await alarm(null);
    // What is not found under another policy than the one in force means nothing.
    dependencies.demandPolicy();
    // Nobody has proven anything: counted, not recorded one by one (rule 16).
    if (thrown instanceof BrokerError) refusals.count(thrown.code);
    throw thrown;
  }
  if (decoy !== null) throw await alarm(found.bearer.claims.sub);
  dependencies.demandPolicy();
  return found;
}

/** The headers in which clients bring it; two of one name are as good as none. */
function credentialsIn(
  { headersDistinct }: IncomingMessage,
  { credentialHeaders }: GatewayUpstream,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const name of credentialHeaders) {
    const [value, ...more] = headersDistinct[name] ?? [];
    if (more.length > 0) throw new BrokerError("malformed_request", `expected the header ${name} once`);
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

/** Where a key that was found somewhere would be tried: every header, the path, the query. */
function* textsOf({ rawHeaders, url = "" }: IncomingMessage): Iterable<readonly [where: string, text: string]> {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    yield [(rawHeaders[i] ?? "").toLowerCase(), rawHeaders[i + 1] ?? ""];
  }
  const mark = url.indexOf("?");
  yield ["path", mark < 0 ? url : url.slice(0, mark)];
  if (mark >= 0) yield ["query", url.slice(mark + 1)];
}

/** A body that was read whole may carry one too. */
export async function checkDecoys(
  { decoys, alarms }: GatewayDependencies,
  call: ProxiedCall,
  inbound: InboundCall,
  { claims }: VerifiedCredential,
): Promise<void> {
  const body = await inbound.bodyRead().catch(() => null);
  const decoy = body === null ? null : decoys.find([["body", body.toString("latin1")]]);
  if (decoy !== null) throw await alarms.decoyPresented(decoy, claims.sub, routeOf(call), call.request);
}

function routeOf({ message, upstream }: ProxiedCall): string {
  return `${message.method ?? ""} /gateway/${upstream}`;
}
