// Whatever two brokers of one store load, look at and are told to activate, in any order and at once: one policy is in force,
// each change has its person, and a broker that has another one says so.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { useRedis, withTwoBrokers } from "../contract/redis-opened.ts";
import { digestOf, eventsOf, openPolicyReplica, type PolicyReplica } from "../support/policy-replicas.ts";

useRedis();

const letter = fc.constantFrom("a", "b", "c");
const broker = fc.constantFrom(0, 1);
const step = fc.oneof(
  fc.record({ kind: fc.constant("reload" as const), broker, letter }),
  fc.record({ kind: fc.constant("look" as const), broker }),
  fc.record({ kind: fc.constant("make good" as const), broker }),
  // As it is shown in force by the broker that is asked, or as somebody saw it long ago.
  fc.record({ kind: fc.constant("activate" as const), broker, letter, seen: fc.option(letter) }),
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

async function take(replica: PolicyReplica, next: Step): Promise<void> {
  switch (next.kind) {
    case "reload":
      return replica.reload(next.letter);
    case "look":
      return replica.look();
    case "make good":
      return replica.makeGood();
    case "activate": {
      const done = replica.activateAs("admin-1", next.letter, next.seen ?? undefined);
      await done.catch((thrown: unknown) => {
        // Nothing else may come of it.
        if (!(thrown instanceof BrokerError) || thrown.code !== "conflict") throw thrown;
      });
      return;
    }
  }
}

describe("two brokers of one store", () => {
  it(
    "agree on one policy, which only people change, each over the one that was there",
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          letter,
          letter,
          fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 8 }),
          async (a, b, all) => {
            await withTwoBrokers(async (first, second) => {
              const replicas = [
                openPolicyReplica(first, a, { isShared: true }),
                openPolicyReplica(second, b, { isShared: true }),
              ];
              for (const replica of replicas) await replica.start();
              // Those of one list at once.
              for (const steps of all) {
                await Promise.all(
                  steps.map((one) => {
                    const replica = replicas[one.broker];
                    return replica === undefined ? Promise.resolve() : take(replica, one);
                  }),
                );
              }
              const changes = await eventsOf(first, "policy.activated");
              const { digest } = await first.policyInForce();
              // A chain: each replaced the one before it.
              expect(changes.map(({ previousPolicy }) => previousPolicy)).toEqual([
                null,
                ...changes.slice(0, -1).map(({ policy }) => policy),
              ]);
              expect(changes.at(-1)?.["policy"]).toBe(digest);
              expect(changes[0]).toMatchObject({ policy: digestOf(a), person: null });
              for (const { person } of changes.slice(1)) expect(person).toBe("admin-1");
              for (const replica of replicas) {
                await replica.look();
                const status = replica.status();
                expect(status.inForce).toBe(digest);
                expect(status.isMismatched).toBe(status.digest !== digest);
                expect(status.pending?.set.digest).not.toBe(digest);
                if (status.isMismatched) expect(() => replica.demand()).toThrow("this replica has policy");
                else replica.demand();
              }
            });
          },
        ),
        { numRuns: 60 },
      );
    },
  );
});
