// An older copy of the broker's store is restored: what the verifier has heard stays in force, and where the broker's
// history now contradicts it, nothing is accepted any more (semantics, rule 15).

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createVerifier, VerificationError, type Verifier } from "../../src/sdk/verify.ts";
import { AUDIENCE, type FeedStandIn, makeClock, startFeedStandIn } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const CONTRADICTION = /the broker's history was changed/;
const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let clock: ReturnType<typeof makeClock>;
let broker: FeedStandIn;
let verifier: Verifier;
let problems: string[];

beforeEach(async () => {
  clock = makeClock();
  problems = [];
  broker = await startFeedStandIn(clock);
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
    onProblem: (problem) => problems.push(problem),
  });
  await verifier.ready();
});
afterEach(async () => {
  verifier.close();
  await broker.close();
});

async function outcome(jwt: string): Promise<string> {
  return verifier.verify(jwt, wanted).then(
    () => "accepted",
    (cause: unknown) => (cause instanceof VerificationError ? cause.code : "another error"),
  );
}

const mintFor = (agent: string) => broker.mint({ sub: agent, client_id: agent });

describe("a verifier whose broker was set back", () => {
  it("accepts nothing when another revocation takes the number of one that it has heard, however many follow", async () => {
    const [frozen, fine] = await Promise.all([mintFor("coder"), mintFor("painter")]);
    await broker.cutOff({ agent: "coder" });
    await expect.poll(() => outcome(frozen)).toBe("cut_off");
    broker.restore(0);
    await expect.poll(() => problems).toContain("a snapshot has number 0, lower than 1 seen before");
    expect(await outcome(frozen)).toBe("feed_stale");
    await broker.cutOff({ agent: "somebody" });
    await expect.poll(() => problems.join()).toMatch(CONTRADICTION);
    expect([await outcome(frozen), await outcome(fine)]).toEqual(["feed_stale", "feed_stale"]);
    // The contradicting one is forgotten by the broker: the verifier does not forget that it was there.
    broker.restore(0);
    for (let i = 0; i < 3; i++) await broker.retireKey(`key_${i}`);
    const { length } = problems;
    await expect.poll(() => problems.length).toBeGreaterThan(length + 1);
    expect(problems.at(-1)).toMatch(CONTRADICTION);
    expect([await outcome(frozen), await outcome(fine)]).toEqual(["feed_stale", "feed_stale"]);
  });

  it("accepts nothing when a revocation takes the number of a retired key that it has heard", async () => {
    const jwt = await mintFor("coder");
    expect(await outcome(jwt)).toBe("accepted");
    await broker.retireKey(broker.credentialKey.kid);
    await expect.poll(() => outcome(jwt)).toBe("credential_invalid");
    broker.restore(0);
    await broker.cutOff({ agent: "somebody" });
    await expect.poll(() => problems.join()).toMatch(CONTRADICTION);
    expect(await outcome(jwt)).toBe("feed_stale");
  });

  it("holds on to a revocation that later snapshots lack", async () => {
    const [frozen, fine] = await Promise.all([mintFor("coder"), mintFor("painter")]);
    await broker.cutOff({ agent: "coder" });
    await expect.poll(() => outcome(frozen)).toBe("cut_off");
    broker.restore(0);
    await expect.poll(() => outcome(fine)).toBe("feed_stale");
    await broker.retireKey("key_old");
    await broker.retireKey("key_older");
    await expect.poll(() => outcome(fine)).toBe("accepted");
    expect(await outcome(frozen)).toBe("cut_off");
  });
});
