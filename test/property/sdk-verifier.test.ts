// Properties of the verifier's parts: a changed credential never verifies, and no order of feed messages opens it wrongly.

import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { FeedMessage } from "../../src/api/revocations.ts";
import { makeId } from "../../src/core/ids.ts";
import { createFeedAge } from "../../src/sdk/feed-age.ts";
import {
  applyFeedMessage,
  beginConnection,
  closeFeed,
  type FeedState,
  UNKNOWN_FEED,
} from "../../src/sdk/feed-state.ts";
import { listCutOffs } from "../../src/sdk/known-cutoffs.ts";
import { createVerifiedCache } from "../../src/core/verified-cache.ts";
import { createVerifier, type Verifier } from "../../src/sdk/verify.ts";
import { AUDIENCE, type FeedStandIn, makeClock, startFeedStandIn } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const clock = makeClock();
const wanted = { action: "volume:read", resource: "shop:volume/vol_1" };
let broker: FeedStandIn;
let verifier: Verifier;

beforeAll(async () => {
  broker = await startFeedStandIn(clock);
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
  });
  await verifier.ready();
});
afterAll(async () => {
  verifier.close();
  await broker.close();
});

describe("a credential", () => {
  it("never verifies when any one character was changed, left out or added", async () => {
    const jwt = await broker.mint();
    await verifier.verify(jwt, wanted);
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= \n";
    await fc.assert(
      fc.asyncProperty(
        fc.nat(jwt.length - 1),
        fc.constantFrom(...alphabet.split("")),
        fc.constantFrom(0, 1),
        async (position, character, removed) => {
          const changed = jwt.slice(0, position) + character + jwt.slice(position + removed);
          fc.pre(changed !== jwt);
          await expect(verifier.verify(changed, wanted)).rejects.toMatchObject({ name: "VerificationError" });
        },
      ),
      { numRuns: 200 },
    );
    for (let i = 0; i < jwt.length; i += 5) {
      await expect(verifier.verify(jwt.slice(0, i) + jwt.slice(i + 1), wanted)).rejects.toMatchObject({
        name: "VerificationError",
      });
    }
    await expect(verifier.verify(jwt, wanted)).resolves.toBeDefined();
  });

  it("gets a stable code whatever text is presented", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.array(fc.base64String(), { maxLength: 4 }).map((parts) => parts.join(".")),
        ),
        async (text) => {
          await expect(verifier.verify(text, wanted)).rejects.toMatchObject({ code: "credential_invalid" });
        },
      ),
    );
  });
});

const cutOffBody = (number: number) => ({
  id: makeId("rev", 1, String(number).padStart(16, "0")),
  number,
  target: { agent: `a${number}` },
  before: 1,
});

/** What a broker would send: its entries in order, each once, with snapshots and heartbeats in between. */
type Sent = "entry" | "heartbeat" | "snapshot" | "reconnect";

function broadcast(script: readonly Sent[]): (FeedMessage | "reconnect")[] {
  let number = 0;
  const messages: (FeedMessage | "reconnect")[] = [snapshot(0, 0)];
  script.forEach((kind, i) => {
    if (kind === "entry") number++;
    if (kind === "reconnect") messages.push("reconnect");
    const common = { iss: "i", at: i, number };
    if (kind === "entry") messages.push({ kind: "cut_off", ...common, cutOff: cutOffBody(number) });
    else if (kind === "heartbeat") messages.push({ kind: "heartbeat", ...common });
    else messages.push(snapshot(number, i));
  });
  return messages;
}

function snapshot(number: number, at: number): Extract<FeedMessage, { readonly kind: "snapshot" }> {
  return {
    kind: "snapshot",
    iss: "i",
    at,
    number,
    cutOffs: Array.from({ length: number }, (_, i) => cutOffBody(i + 1)),
    retiredKeys: [],
  };
}

function run(messages: readonly (FeedMessage | "reconnect")[]): FeedState {
  return messages.reduce<FeedState>((state, message) => {
    if (message === "reconnect") return beginConnection(state);
    const step = applyFeedMessage(state, message);
    return step.outcome === "applied" ? step.state : closeFeed(state);
  }, UNKNOWN_FEED);
}

describe("the feed's rules", () => {
  const scripts = fc.array(fc.constantFrom<Sent>("entry", "entry", "heartbeat", "snapshot", "reconnect"), {
    maxLength: 30,
  });

  it("an undisturbed feed stays open and knows every cut-off once", () => {
    fc.assert(
      fc.property(scripts, (script) => {
        const entries = script.filter((kind) => kind === "entry").length;
        const state = run(broadcast(script));
        expect(state.open).toBe(true);
        expect(listCutOffs(state.cutOffs).map(({ number }) => number)).toEqual(
          Array.from({ length: entries }, (_, i) => i + 1),
        );
      }),
    );
  });

  it("a feed that lost, repeated or swapped messages is closed, or knows everything up to its number all the same", () => {
    fc.assert(
      fc.property(
        scripts,
        fc.array(fc.tuple(fc.nat(40), fc.constantFrom("drop", "repeat", "swap")), { maxLength: 6 }),
        (script, harm) => {
          const messages = broadcast(script);
          for (const [at, kind] of harm) {
            const i = at % messages.length;
            const [message, next] = [messages[i], messages[i + 1]];
            if (message === undefined) continue;
            if (kind === "drop") messages.splice(i, 1);
            else if (kind === "repeat") messages.splice(i, 0, message);
            else if (next !== undefined) messages.splice(i, 2, next, message);
            if (messages.length === 0) return;
          }
          const state = run(messages);
          const all = Array.from({ length: state.number }, (_, i) => i + 1);
          expect(state.open ? listCutOffs(state.cutOffs).map(({ number }) => number) : all).toEqual(all);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("number, time, version and retired keys never go back", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(broadcast(Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? "snapshot" : "entry")))),
        (messages) => {
          let last = UNKNOWN_FEED;
          messages.forEach((_, i) => {
            const state = run(messages.slice(0, i + 1));
            expect(state.number >= last.number && state.at >= last.at && state.version >= last.version).toBe(true);
            last = state;
          });
        },
      ),
    );
  });
});

describe("what was heard", () => {
  it("is kept, whatever any later snapshot lists, until no grant that it could match can live", () => {
    const day = 86_400_000;
    const heard = fc.array(
      fc.record({
        wait: fc.constantFrom(0, 1000, day / 2, day),
        listed: fc.array(fc.nat(12)),
        isEntry: fc.boolean(),
        earlier: fc.nat(2 * day),
      }),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(heard, (script) => {
        let at = 10 * day;
        let state = run([{ ...snapshot(0, 0), at }]);
        const all = new Map<number, number>();
        for (const { wait, listed, isEntry, earlier } of script) {
          at += wait;
          const number = state.number + (isEntry ? 1 : 0);
          const bodyOf = (n: number) => ({ ...cutOffBody(n), before: all.get(n) ?? at - earlier });
          if (isEntry) all.set(number, at - earlier);
          const message: FeedMessage = isEntry
            ? { kind: "cut_off", iss: "i", at, number, cutOff: bodyOf(number) }
            : { ...snapshot(0, at), number, cutOffs: [...new Set(listed)].filter((n) => all.has(n)).map(bodyOf) };
          const step = applyFeedMessage(state, message);
          expect(step.outcome).toBe("applied");
          if (step.outcome === "applied") ({ state } = step);
          const known = new Set(listCutOffs(state.cutOffs).map((cutOff) => cutOff.number));
          for (const [n, before] of all) if (before >= at - day - 30_000) expect(known).toContain(n);
          if (isEntry) continue;
          for (const n of known) expect((all.get(n) ?? 0) >= at - day - 30_000 || listed.includes(n)).toBe(true);
        }
      }),
    );
  });

  it("is bounded: more cut-offs than a verifier holds close it", () => {
    const cutOffs = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ ...cutOffBody(1), number: from + i }));
    const first = applyFeedMessage(UNKNOWN_FEED, { ...snapshot(0, 1), number: 400_000, cutOffs: cutOffs(1, 400_000) });
    expect(first.outcome).toBe("applied");
    if (first.outcome !== "applied") return;
    const more = { ...snapshot(0, 1), number: 600_000 };
    expect(applyFeedMessage(first.state, { ...more, cutOffs: cutOffs(400_001, 100_000) }).outcome).toBe("applied");
    expect(applyFeedMessage(first.state, { ...more, cutOffs: cutOffs(400_001, 100_001) })).toMatchObject({
      outcome: "broken",
      contradicted: false,
    });
  });
});

describe("the age of what is known", () => {
  it("is never less than the time since the last message was signed, however messages are delayed", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3000), fc.nat(20_000)), { minLength: 1, maxLength: 20 }), (steps) => {
        const time = makeClock(1_000_000);
        const age = createFeedAge(time, 60_000);
        // The first arrives as fast as any can; broker and verifier share a clock here, which the verifier does not know.
        age.heard(time.now());
        let signedAt = time.now();
        for (const [between, delay] of steps) {
          signedAt += between;
          if (time.now() < signedAt + delay) time.advance(signedAt + delay - time.now());
          age.heard(signedAt);
          // The allowance for drift is a thousandth of the time that passed.
          expect(age.ageMs()).toBeGreaterThanOrEqual(time.now() - signedAt - (time.now() - 1_000_000) * 0.001 - 1);
        }
      }),
    );
  });

  it("stays small for weeks when two clocks drift apart by 100 parts in a million", () => {
    // The wall clock is kept in step; what drifts from the broker's is the steady one.
    let passed = 0;
    const time = { now: () => 1_000_000 + passed * (1 - 0.0001), monotonic: () => passed };
    const age = createFeedAge(time, 5000);
    let oldest = 0;
    for (; passed < 14 * 86_400_000; passed += 10_000) {
      expect(age.heard(time.now())).toBe("heard");
      oldest = Math.max(oldest, age.ageMs());
    }
    expect(oldest).toBeLessThan(1000);
  });
});

describe("the memory of verified credentials", () => {
  it("holds no more than its limits and forgets the least recently used first", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 12 }), fc.boolean())),
        fc.integer({ min: 1, max: 8 }),
        (uses, limit) => {
          const cache = createVerifiedCache<string>(limit, 40);
          let model: string[] = [];
          for (const [jwt, write] of uses) {
            const known = model.includes(jwt);
            expect(cache.get(jwt)).toBe(known ? jwt : undefined);
            if (write) cache.set(jwt, jwt);
            if (known || write) model = [...model.filter((other) => other !== jwt), jwt];
            while (model.length > limit || model.join("").length > 40) model.shift();
          }
        },
      ),
    );
  });
});
