// The refusal of a GraphQL document. A document that passes, or another error than a refusal, fails the test.

import { BrokerError } from "../../src/core/errors.ts";
import { readDocument } from "../../src/scopes/graphql.ts";
import type { ArgumentValue, GraphqlUpstream } from "../../src/scopes/scope-set.ts";

export function refusalOf(
  upstream: GraphqlUpstream,
  query: string,
  variables: { readonly [name: string]: ArgumentValue } | null = null,
  operationName: string | null = null,
): BrokerError {
  try {
    readDocument(upstream, { query, variables, operationName });
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error(`not refused: ${query.slice(0, 500)}`);
}
