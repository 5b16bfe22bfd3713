// Which upstreams agents reach through the gateway alone. The credentials of all others work without it, so that whatever
// must be judged or waited for comes before the credential (semantics, rules 6 and 9).

import type { GatewayUpstream, Upstream } from "./scope-set.ts";

export function isBehindGateway(upstream: Upstream): upstream is GatewayUpstream {
  return upstream.type === "http" || upstream.type === "graphql";
}
