// Snapshots of many cut-offs: tens of megabytes are taken whole and judged by, more is refused while it arrives.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { drawRandomPart, makeId } from "../../src/core/ids.ts";
import { createVerifier, type Verifier } from "../../src/sdk/verify.ts";
import { AUDIENCE, type FeedStandIn, makeClock, startFeedStandIn } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 60_000, expect: { poll: { timeout: 30_000 } } });

const MEBIBYTE = 1_048_576;
const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let clock: ReturnType<typeof makeClock>;
let broker: FeedStandIn;
let verifier: Verifier | undefined;
let problems: string[];

beforeEach(async () => {
  clock = makeClock();
  problems = [];
  broker = await startFeedStandIn(clock);
});
afterEach(async () => {
  verifier?.close();
  await broker.close();
});

function follow(): Verifier {
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
    maxFeedAgeMs: 60_000,
    onProblem: (problem) => problems.push(problem),
  });
  return verifier;
}

describe("a verifier", () => {
  it("takes a snapshot of more than 30 MB and finds the one cut-off in it that counts", async () => {
    const before = clock.now();
    const entryOf = (number: number, target: Record<string, unknown>) => ({
      id: makeId("rev", before, drawRandomPart()),
      number,
      target,
      before,
    });
    const cutOffs = Array.from({ length: 100_000 }, (_, i) => entryOf(i + 1, { task: `${"t".repeat(133)} ${i}` }));
    cutOffs.push(entryOf(100_001, { agent: "coder" }));
    broker.number = cutOffs.length;
    const snapshot = await broker.sign({
      kind: "snapshot",
      iss: broker.url,
      at: clock.now(),
      number: broker.number,
      cutOffs,
      retiredKeys: [],
    });
    expect(snapshot.length).toBeGreaterThan(30 * MEBIBYTE);
    expect(snapshot.length).toBeLessThanOrEqual(32 * MEBIBYTE);
    broker.greeting = () => Promise.resolve(snapshot);
    const [frozen, fine] = await Promise.all([
      broker.mint(),
      broker.mint({ sub: "painter", client_id: "painter", task: "t" }),
    ]);
    const following = follow();
    await following.ready(30_000);
    await expect(following.verify(frozen, wanted)).rejects.toMatchObject({ code: "cut_off" });
    await expect(following.verify(fine, wanted)).resolves.toBeDefined();
  });

  it("refuses a message of more than 32 MB, and does not hold more of it", async () => {
    const { greeting } = broker;
    broker.greeting = () => Promise.resolve("x".repeat(32 * MEBIBYTE + 1));
    const following = follow();
    await expect.poll(() => problems).toContain("a message is larger than any feed's");
    expect(following.status().open).toBe(false);
    broker.greeting = greeting;
    await following.ready(30_000);
  });

  it("takes a message of exactly 32 MB for what it says", async () => {
    broker.greeting = () => Promise.resolve("x".repeat(32 * MEBIBYTE));
    follow();
    await expect.poll(() => problems).toContain("a message is not a signed one");
  });
});
