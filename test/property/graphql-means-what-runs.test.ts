// What is judged against what runs, by the reference implementation: equal for valid documents, and never less for any
// other: of 100,000 documents where all is tried. The universe has no defaults of arguments, which nobody can know without
// the schema.

import fc from "fast-check";
import { parse, specifiedRules, validate } from "graphql";
import { expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { readDocument } from "../../src/scopes/graphql.ts";
import type { GraphqlUpstream } from "../../src/scopes/scope-set.ts";
import { createRecordingUniverse, universeUpstream } from "../support/graphql-universe.ts";
import { makeRequest, type RandomRequest } from "../support/random-graphql.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";

const universe = createRecordingUniverse();
const numbers = fc.uint8Array({ minLength: 0, maxLength: 250, size: "max" });

/** Null: refused. Anything but a BrokerError is thrown on. */
function judge(upstream: GraphqlUpstream, request: RandomRequest): ReadonlySet<string> | null {
  try {
    const { fields } = readDocument(upstream, request);
    return new Set(fields.flatMap(({ permissions }) => permissions.map(({ resource }) => resource)));
  } catch (error) {
    if (error instanceof BrokerError) return null;
    throw error;
  }
}

function compareMany(upstream: GraphqlUpstream, documents: number): void {
  const counted = { equal: 0, more: 0, refused: 0, unlisted: 0 };
  fc.assert(
    fc.property(numbers, (from) => {
      const request = makeRequest(from);
      const document = parse(request.query, { noLocation: true });
      const ran = universe.run(document, request.variables, request.operationName);
      const judged = judge(upstream, request);
      if (judged !== null) {
        expect(ran.isUnlisted, request.query).toBe(false);
        expect(ran.permissions.isSubsetOf(judged), request.query).toBe(true);
      }
      if (judged?.isSubsetOf(ran.permissions) === true) {
        counted.equal += 1;
        return;
      }
      counted[ran.isUnlisted ? "unlisted" : judged === null ? "refused" : "more"] += 1;
      if (ran.isUnlisted) return;
      // Refused, or judged to do more than it did: right only for a document that is at fault, or does nothing.
      const isAtFault =
        ran.hasErrors ||
        ran.permissions.size === 0 ||
        // The one thing that `execute` passes over and the broker does not.
        request.fault === "a value that nobody asks for" ||
        validate(universe.schema, document, specifiedRules, { maxErrors: 1 }).length > 0;
      expect(isAtFault, request.query).toBe(true);
    }),
    { numRuns: documents },
  );
  // A generator that makes none of one sort would prove nothing.
  expect(Math.min(...Object.values(counted)), JSON.stringify(counted)).toBeGreaterThan(documents / 1000);
  expect(counted.equal, JSON.stringify(counted)).toBeGreaterThan(documents / 2);
}

const PATIENCE = { timeout: 60_000 };

it.each([1, 2, 3, 4])("judges what runs, no less, and no more where a document is valid: quarter %i", PATIENCE, () => {
  compareMany(universeUpstream(false), IS_WHOLE ? 25_000 : 5000);
});

it("judges what runs where the schema is known too", PATIENCE, () => {
  compareMany(universeUpstream(true), 5000);
});
