// Attacks on the feed itself: forged, dropped, replayed, delayed or withheld messages close the verifier (rule 15).

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createVerifier, VerificationError, type Verifier } from "../../src/sdk/verify.ts";
import {
  AUDIENCE,
  type FeedStandIn,
  makeCallerKey,
  makeClock,
  makePair,
  startFeedStandIn,
} from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let clock: ReturnType<typeof makeClock>;
let broker: FeedStandIn;
let verifier: Verifier;
let problems: string[];

beforeEach(async () => {
  clock = makeClock();
  problems = [];
  broker = await startFeedStandIn(clock);
});
afterEach(async () => {
  verifier.close();
  await broker.close();
});

function follow(): void {
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
    onProblem: (problem) => problems.push(problem),
  });
}

async function outcome(jwt: string): Promise<string> {
  return verifier.verify(jwt, wanted).then(
    () => "accepted",
    (cause: unknown) => (cause instanceof VerificationError ? cause.code : "another error"),
  );
}

/** Attacks once the feed is open, while nothing greets the verifier that comes back; answers what a good credential gets. */
async function openThen(attack: () => Promise<void> | void): Promise<string> {
  const jwt = await broker.mint();
  follow();
  await verifier.ready();
  expect(await outcome(jwt)).toBe("accepted");
  const { greeting } = broker;
  broker.greeting = null;
  await attack();
  await expect.poll(() => problems.length).toBeGreaterThan(0);
  broker.greeting = greeting;
  return outcome(jwt);
}

describe("a verifier that follows the feed", () => {
  it("accepts nothing before a full snapshot, whatever else it hears", async () => {
    const jwt = await broker.mint();
    broker.greeting = () => broker.sign({ kind: "heartbeat", iss: broker.url, at: clock.now(), number: 0 });
    follow();
    await expect.poll(() => problems).toContain("expected a snapshot first, found 'heartbeat'");
    expect(await outcome(jwt)).toBe("feed_stale");
    await expect(verifier.ready(50)).rejects.toMatchObject({ code: "feed_stale" });
  });

  it("closes on a gap, and opens again with a snapshot that has what was missed", async () => {
    const jwt = await broker.mint();
    const attacked = await openThen(async () => {
      broker.number = 1;
      await broker.cutOff({ agent: "somebody" });
    });
    expect(attacked).toBe("feed_stale");
    expect(problems).toContain("expected number 1, found 2");
    broker.drop();
    await verifier.ready();
    expect(await outcome(jwt)).toBe("accepted");
  });

  it.each<[string, () => Promise<void>]>([
    ["a heartbeat with a higher number: an entry was withheld", () => broker.heartbeat({ number: 1 })],
    ["a heartbeat with a lower number", () => broker.heartbeat({ number: -1 })],
    ["a message that is older than one before it", () => broker.heartbeat({ at: clock.now() - 1 })],
    ["a message for another issuer", () => broker.heartbeat({ iss: "https://other.example" })],
    ["a message of an unknown kind", () => broker.heartbeat({ kind: "all_clear" })],
    ["an entry whose own number differs", () => broker.cutOff({ agent: "a" }, 0, { number: 7 })],
    ["a cut-off without a target", () => broker.cutOff({})],
    ["a cut-off whose target is no text", () => broker.cutOff({ agent: ["coder"] })],
  ])("closes on %s", async (_, attack) => {
    expect(await openThen(attack)).toBe("feed_stale");
  });

  it("closes on a message that another key signed under the record key's id", async () => {
    const forger = { ...(await makePair("x")), kid: broker.recordKey.kid };
    const message = { kind: "heartbeat", iss: broker.url, at: clock.now(), number: 0 };
    expect(await openThen(async () => broker.send(await broker.sign(message, {}, forger)))).toBe("feed_stale");
  });

  it("closes on a message that the credential key signed", async () => {
    const message = { kind: "heartbeat", iss: broker.url, at: clock.now(), number: 0 };
    expect(await openThen(async () => broker.send(await broker.sign(message, {}, broker.credentialKey)))).toBe(
      "feed_stale",
    );
  });

  it("closes on a message of another type, although the record key signed it", async () => {
    const message = { kind: "heartbeat", iss: broker.url, at: clock.now(), number: 0 };
    expect(
      await openThen(async () => broker.send(await broker.sign(message, { typ: "valetkey-checkpoint+jwt" }))),
    ).toBe("feed_stale");
  });

  it("closes on what is no message", async () => {
    expect(await openThen(() => broker.send("{}"))).toBe("feed_stale");
  });

  it("closes on a message that is signed with a record key which it retires", async () => {
    expect(await openThen(() => broker.retireKey(broker.recordKey.kid))).toBe("feed_stale");
  });

  it("refuses an older snapshot that is replayed when it connects again", async () => {
    const old = (await broker.greeting?.()) ?? "";
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    await broker.cutOff({ agent: "coder" });
    await expect.poll(() => outcome(jwt)).toBe("cut_off");
    broker.greeting = () => Promise.resolve(old);
    broker.drop();
    await expect.poll(() => problems).toContain("a snapshot has number 0, lower than 1 seen before");
    expect(await outcome(jwt)).toBe("feed_stale");
  });

  it("refuses a snapshot of long ago when it starts", async () => {
    const old = (await broker.greeting?.()) ?? "";
    clock.advance(36_000);
    broker.greeting = () => Promise.resolve(old);
    follow();
    await expect.poll(() => problems.join()).toContain("from the past");
    expect(await outcome(await broker.mint())).toBe("feed_stale");
  });

  it("refuses a snapshot from the future when it starts: its own clock may have jumped back", async () => {
    const expired = await broker.mint();
    const now = clock.now();
    broker.greeting = () =>
      broker.sign({
        kind: "snapshot",
        iss: broker.url,
        at: now + 3_600_000,
        number: 0,
        cutOffs: [],
        retiredKeys: [],
      });
    follow();
    await expect.poll(() => problems.join()).toContain("from the future");
    expect(await outcome(expired)).toBe("feed_stale");
  });

  it("takes a message that is ahead by as much as clocks may differ, and none that is further ahead", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    await broker.heartbeat({ at: clock.now() + 30_000 });
    await broker.cutOff({ agent: "coder" }, clock.now(), { at: clock.now() + 30_000 });
    await expect.poll(() => outcome(jwt)).toBe("cut_off");
    await broker.heartbeat({ at: clock.now() + 30_001 });
    await expect.poll(() => problems.join()).toContain("from the future");
    expect(await outcome(jwt)).toBe("feed_stale");
  });

  it("closes the moment its own clock falls behind what the broker last said", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    clock.jump(-30_000);
    expect(await outcome(jwt)).toBe("accepted");
    clock.jump(-1);
    expect(await outcome(jwt)).toBe("feed_stale");
    expect(verifier.status().open).toBe(false);
  });

  it("keeps a retired key retired, whatever a later snapshot says", async () => {
    follow();
    await verifier.ready();
    const jwt = await broker.mint();
    await broker.retireKey(broker.credentialKey.kid);
    await expect.poll(() => outcome(jwt)).toBe("credential_invalid");
    broker.greeting = () =>
      broker.sign({ kind: "snapshot", iss: broker.url, at: clock.now(), number: 1, cutOffs: [], retiredKeys: [] });
    broker.drop();
    await expect.poll(() => broker.connections()).toBe(1);
    await broker.heartbeat();
    await expect.poll(() => outcome(jwt)).toBe("credential_invalid");
  });

  it("closes after 5 s of silence and not before", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    clock.advance(5000);
    expect(await outcome(jwt)).toBe("accepted");
    clock.advance(1);
    expect(await outcome(jwt)).toBe("feed_stale");
    expect(verifier.status().open).toBe(false);
  });

  it("does not take a message that was held back for a fresh one", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    const heldBack = await broker.sign({ kind: "heartbeat", iss: broker.url, at: clock.now() + 1000, number: 0 });
    clock.advance(7000);
    broker.greeting = null;
    broker.send(heldBack);
    await expect.poll(() => problems).toContain("messages arrive too late to count");
    expect(await outcome(jwt)).toBe("feed_stale");
  });

  it("stays open over a lost connection until what it knows is too old", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    broker.greeting = null;
    broker.drop();
    await expect.poll(() => problems.length).toBeGreaterThan(0);
    expect(await outcome(jwt)).toBe("accepted");
    clock.advance(5001);
    expect(await outcome(jwt)).toBe("feed_stale");
  });

  it("proves itself anew, with a single-use proof, each time it connects", async () => {
    follow();
    await verifier.ready();
    broker.drop();
    await expect.poll(() => broker.connections()).toBe(1);
    expect(broker.proofs.length).toBe(2);
    expect(new Set(broker.proofs).size).toBe(2);
  });

  it("says why when the broker does not know its key", async () => {
    const key = await makeCallerKey("shop");
    verifier = createVerifier({ issuer: broker.url, audience: AUDIENCE, environment: "staging", key, clock });
    await expect(verifier.ready(300)).rejects.toThrow(/the feed of revocations is not open after 300 ms: .*401/);
  });

  it("accepts nothing once it is closed", async () => {
    const jwt = await broker.mint();
    follow();
    await verifier.ready();
    verifier.close();
    expect(await outcome(jwt)).toBe("feed_stale");
  });
});
