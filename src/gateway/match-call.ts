// What a call means, whatever the kind of its upstream.

import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { InboundCall } from "./inbound-call.ts";
import { matchGraphql } from "./match-graphql.ts";
import { matchHttp } from "./match-http.ts";
import type { MatchedCall } from "./matched-call.ts";

/** Throws what the definition does not list or the form forbids. */
export async function matchCall(upstream: GatewayUpstream, inbound: InboundCall): Promise<MatchedCall> {
  return upstream.type === "http" ? matchHttp(upstream, inbound) : matchGraphql(upstream, inbound);
}
