// The feed that verifiers follow: order, numbers, heartbeats, and who is dropped. The port is a list in memory and
// messages are "signed" as plain JSON; real signatures and sockets are tested through HTTP and the SDK.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FeedMessage } from "../../src/api/revocations.ts";
import { makeId } from "../../src/core/ids.ts";
import { createFeed, type Feed, mayStillFollow } from "../../src/revocation/feed.ts";
import type { FeedSnapshot, RevocationPort, StoredCutOff } from "../../src/revocation/revocation-port.ts";
import type { AnyPrincipal, Person } from "../../src/scopes/scope-set.ts";
import { makeScopeSet } from "../support/scope-set-fixture.ts";

const ISSUER = "https://valetkey.example";

function cutOffNumber(number: number): StoredCutOff {
  const id = makeId("rev", 1000 + number, "0".repeat(16));
  return {
    id,
    number,
    target: { agent: `agent-${number}` },
    before: 1000 + number,
    reason: "r",
    by: "p",
    keptUntil: 9e12,
    closed: false,
  };
}

interface Follower {
  readonly principal: AnyPrincipal;
  readonly messages: FeedMessage[];
  open: boolean;
  slow: boolean;
  send(kind: FeedMessage["kind"], jws: string): boolean;
  close(): void;
}

const serviceOf = (name: string): AnyPrincipal => ({ kind: "Service", name, keys: [{ kty: "OKP", x: name }] });

function makeFollower(name = "shop-verifier"): Follower {
  const principal = serviceOf(name);
  const follower: Follower = {
    principal,
    messages: [],
    open: true,
    slow: false,
    send: (kind, jws) => {
      const message: FeedMessage = JSON.parse(jws);
      expect(message.kind).toBe(kind);
      follower.messages.push(message);
      return !follower.slow;
    },
    close: () => void (follower.open = false),
  };
  return follower;
}

async function makeFeed(durable: StoredCutOff[] = []) {
  const state = { signs: true, reads: true };
  const unused = () => Promise.reject(new Error("the feed does not use this"));
  const port: RevocationPort = {
    cutOff: unused,
    freeze: unused,
    unfreeze: unused,
    reopen: unused,
    findCutOff: unused,
    countMet: unused,
    countCancelled: unused,
    liveShapes: unused,
    activatePolicy: unused,
    markSwept: unused,
    policyInForce: unused,
    snapshot: async (): Promise<FeedSnapshot> => {
      if (!state.reads) throw new Error("the store does not answer");
      return { number: durable.at(-1)?.number ?? 0, cutOffs: [...durable], frozen: [], retiredKeys: ["key_old"] };
    },
  };
  const sign = async (_type: string, claims: FeedMessage): Promise<string> => {
    if (!state.signs) throw new Error("no key");
    return JSON.stringify(claims);
  };
  const feed = await createFeed({ port, issuer: ISSUER, at: () => 5000, sign });
  const write = (number: number) => {
    const cutOff = cutOffNumber(number);
    durable.push(cutOff);
    durable.sort((a, b) => a.number - b.number);
    return cutOff;
  };
  return { feed, state, write, publish: (number: number) => feed.publish({ kind: "cut_off", cutOff: write(number) }) };
}

/** Lets everything that waits for nothing but the queue happen. */
const settle = () => vi.advanceTimersByTimeAsync(0);
const numbers = (follower: Follower) => follower.messages.map(({ kind, number }) => `${kind} ${number}`);

let feeds: Feed[] = [];
beforeEach(() => {
  vi.useFakeTimers();
  feeds = [];
});
afterEach(() => {
  for (const feed of feeds) feed.close();
  vi.useRealTimers();
});
const make = async (durable?: StoredCutOff[]) => {
  const made = await makeFeed(durable);
  feeds.push(made.feed);
  return made;
};

describe("a follower", () => {
  it("gets the whole snapshot first, and nothing that is not for verifiers", async () => {
    const { feed } = await make([cutOffNumber(1), cutOffNumber(2)]);
    const follower = makeFollower();
    await feed.subscribe(follower);
    const body = [1, 2].map((number) => {
      const { id, target, before } = cutOffNumber(number);
      return { id, number, target, before };
    });
    expect(follower.messages).toEqual([
      { kind: "snapshot", iss: ISSUER, at: 5000, number: 2, cutOffs: body, retiredKeys: ["key_old"] },
    ]);
  });

  it("gets entries in the order of their numbers, also when they are published out of order", async () => {
    const { feed, publish, write } = await make();
    const follower = makeFollower();
    await feed.subscribe(follower);
    const [one, two, three] = [write(1), write(2), write(3)];
    feed.publish({ kind: "cut_off", cutOff: three });
    feed.publish({ kind: "cut_off", cutOff: two });
    await settle();
    expect(numbers(follower)).toEqual(["snapshot 0"]);
    feed.publish({ kind: "cut_off", cutOff: one });
    publish(4);
    feed.publish({ kind: "key_retired", number: 5, keyId: "key_1" });
    await settle();
    expect(numbers(follower)).toEqual([
      "snapshot 0",
      "cut_off 1",
      "cut_off 2",
      "cut_off 3",
      "cut_off 4",
      "key_retired 5",
    ]);
    expect(follower.messages.at(-1)).toMatchObject({ keyId: "key_1", iss: ISSUER });
    expect(follower.messages[1]).toMatchObject({ cutOff: { number: 1, target: { agent: "agent-1" }, before: 1001 } });
  });

  it("who comes between an entry's being durable and its being published gets it once, and not in the snapshot", async () => {
    const { feed, write } = await make();
    const late = write(1);
    const follower = makeFollower();
    await feed.subscribe(follower);
    expect(follower.messages).toMatchObject([{ kind: "snapshot", number: 0, cutOffs: [] }]);
    feed.publish({ kind: "cut_off", cutOff: late });
    await settle();
    expect(numbers(follower)).toEqual(["snapshot 0", "cut_off 1"]);
  });

  it("who comes late gets no entry twice, however often it is published", async () => {
    const { feed, publish } = await make();
    publish(1);
    publish(2);
    await settle();
    const follower = makeFollower();
    await feed.subscribe(follower);
    feed.publish({ kind: "cut_off", cutOff: cutOffNumber(2) });
    feed.publish({ kind: "cut_off", cutOff: cutOffNumber(1) });
    await settle();
    expect(numbers(follower)).toEqual(["snapshot 2"]);
    // What was published again waits for nothing: nobody is dropped for it.
    await vi.advanceTimersByTimeAsync(5000);
    expect(follower.open).toBe(true);
    expect(follower.messages[0]).toMatchObject({ cutOffs: [{ number: 1 }, { number: 2 }] });
  });

  it("who comes while entries are published sees each number once, in snapshot or entry", async () => {
    const { feed, publish } = await make();
    const followers = Array.from({ length: 20 }, () => makeFollower());
    const joined = followers.map((follower, i) => {
      publish(i + 1);
      return feed.subscribe(follower);
    });
    await Promise.all(joined);
    await settle();
    for (const { messages } of followers) {
      const [snapshot, ...entries] = messages;
      expect(snapshot?.kind).toBe("snapshot");
      const first = snapshot?.kind === "snapshot" ? snapshot.cutOffs.map(({ number }) => number) : [];
      const all = [...first, ...entries.map(({ number }) => number)];
      expect(all).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    }
  });

  it("who has left gets nothing more", async () => {
    const { feed, publish } = await make();
    const follower = makeFollower();
    const leave = await feed.subscribe(follower);
    leave();
    publish(1);
    await vi.advanceTimersByTimeAsync(3000);
    expect(numbers(follower)).toEqual(["snapshot 0"]);
  });
});

describe("a heartbeat", () => {
  it("comes each second and repeats the last number", async () => {
    const { feed, publish } = await make([cutOffNumber(1)]);
    const follower = makeFollower();
    await feed.subscribe(follower);
    await vi.advanceTimersByTimeAsync(2000);
    publish(2);
    await vi.advanceTimersByTimeAsync(1000);
    expect(numbers(follower)).toEqual(["snapshot 1", "heartbeat 1", "heartbeat 1", "cut_off 2", "heartbeat 2"]);
  });

  it("never carries a number whose entry was not sent", async () => {
    const { feed, write } = await make();
    const follower = makeFollower();
    await feed.subscribe(follower);
    write(1);
    feed.publish({ kind: "cut_off", cutOff: write(2) });
    await vi.advanceTimersByTimeAsync(1000);
    expect(numbers(follower)).toEqual(["snapshot 0", "heartbeat 0"]);
  });
});

describe("followers are dropped, to start again with a snapshot,", () => {
  it("when they do not keep up, and the others stay", async () => {
    const { feed, publish } = await make();
    const [slow, quick] = [makeFollower(), makeFollower()];
    await feed.subscribe(slow);
    await feed.subscribe(quick);
    slow.slow = true;
    publish(1);
    await settle();
    expect([slow.open, quick.open]).toEqual([false, true]);
    publish(2);
    await settle();
    expect(numbers(slow)).toEqual(["snapshot 0", "cut_off 1"]);
    expect(numbers(quick)).toEqual(["snapshot 0", "cut_off 1", "cut_off 2"]);
  });

  it("when they cannot even take the snapshot", async () => {
    const { feed, publish } = await make();
    const slow = makeFollower();
    slow.slow = true;
    await feed.subscribe(slow);
    expect(slow.open).toBe(false);
    publish(1);
    await settle();
    expect(numbers(slow)).toEqual(["snapshot 0"]);
  });

  it("all of them, when an entry cannot be signed: none may believe that it is up to date", async () => {
    const { feed, publish, state } = await make();
    const followers = [makeFollower(), makeFollower()];
    for (const follower of followers) await feed.subscribe(follower);
    state.signs = false;
    publish(1);
    await settle();
    expect(followers.map(({ open }) => open)).toEqual([false, false]);
    state.signs = true;
    const again = makeFollower();
    await feed.subscribe(again);
    expect(again.messages).toMatchObject([{ kind: "snapshot", number: 1, cutOffs: [{ number: 1 }] }]);
    publish(2);
    await settle();
    expect(numbers(again)).toEqual(["snapshot 1", "cut_off 2"]);
  });

  it("all of them, when a heartbeat cannot be signed or a snapshot cannot be read", async () => {
    const { feed, state } = await make();
    const first = makeFollower();
    await feed.subscribe(first);
    state.signs = false;
    await vi.advanceTimersByTimeAsync(1000);
    expect(first.open).toBe(false);
    state.signs = true;
    const second = makeFollower();
    await feed.subscribe(second);
    state.reads = false;
    await expect(feed.subscribe(makeFollower())).rejects.toThrow("the store does not answer");
    await settle();
    expect(second.open).toBe(false);
  });

  it("all of them, when an entry stays missing, and the feed goes on from the store", async () => {
    const { feed, write, publish } = await make();
    const follower = makeFollower();
    await feed.subscribe(follower);
    write(1);
    feed.publish({ kind: "cut_off", cutOff: write(2) });
    await vi.advanceTimersByTimeAsync(2000);
    expect(follower.open).toBe(true);
    await vi.advanceTimersByTimeAsync(1000);
    expect(follower.open).toBe(false);
    const again = makeFollower();
    await feed.subscribe(again);
    expect(again.messages).toMatchObject([{ kind: "snapshot", number: 2, cutOffs: [{ number: 1 }, { number: 2 }] }]);
    publish(3);
    await settle();
    expect(numbers(again)).toEqual(["snapshot 2", "cut_off 3"]);
  });

  it("when policy no longer knows them", async () => {
    const { feed, publish } = await make();
    const [kept, removed] = [makeFollower("shop-verifier"), makeFollower("old-verifier")];
    await feed.subscribe(kept);
    await feed.subscribe(removed);
    feed.dropAllBut(({ name }) => name === "shop-verifier");
    publish(1);
    await settle();
    expect([kept.open, removed.open]).toEqual([true, false]);
    expect(numbers(removed)).toEqual(["snapshot 0"]);
  });

  it("when the feed is closed, those that were about to join too", async () => {
    const { feed } = await make();
    const [here, joining] = [makeFollower(), makeFollower()];
    await feed.subscribe(here);
    const joined = feed.subscribe(joining);
    feed.close();
    await joined;
    expect([here.open, joining.open]).toEqual([false, false]);
    await vi.advanceTimersByTimeAsync(3000);
    expect(numbers(here)).toEqual(["snapshot 0"]);
  });
});

describe("at most 1,000 follow", () => {
  it("one after the other, and a place that is left is free again", async () => {
    const { feed } = await make();
    const leave: (() => void)[] = [];
    for (let i = 0; i < 1000; i++) leave.push(await feed.subscribe(makeFollower(`v${i % 40}`)));
    await expect(feed.subscribe(makeFollower())).rejects.toMatchObject({ code: "limit_reached", retryAfterSeconds: 5 });
    leave[0]?.();
    await expect(feed.subscribe(makeFollower())).resolves.toBeDefined();
  });

  it("however many come at once", async () => {
    const { feed } = await make();
    const joined = await Promise.allSettled(
      Array.from({ length: 1500 }, (_, i) => feed.subscribe(makeFollower(`v${i % 60}`))),
    );
    expect(joined.filter(({ status }) => status === "fulfilled")).toHaveLength(1000);
  });

  it("and at most 50 of one name, so that no service takes the places of all", async () => {
    const { feed } = await make();
    const joined = await Promise.allSettled(Array.from({ length: 200 }, () => feed.subscribe(makeFollower("greedy"))));
    expect(joined.filter(({ status }) => status === "fulfilled")).toHaveLength(50);
    await expect(feed.subscribe(makeFollower("security-1"))).resolves.toBeDefined();
  });

  it("and those whose snapshot failed take no place", async () => {
    const { feed, state } = await make();
    state.reads = false;
    await Promise.allSettled(Array.from({ length: 1500 }, () => feed.subscribe(makeFollower())));
    state.reads = true;
    await expect(feed.subscribe(makeFollower())).resolves.toBeDefined();
  });
});

describe("who may still follow after a reload", () => {
  const person = (powers: Person["powers"]): Person => ({
    kind: "Person",
    name: "security-1",
    keys: [],
    powers,
    teams: [],
  });
  const among = (...all: AnyPrincipal[]) => ({
    ...makeScopeSet({}),
    principals: new Map(all.map((one) => [one.name, one])),
  });

  it("is who has the same keys, and for a person the power; a replaced key or a lost power ends the stream", () => {
    const service = serviceOf("shop-verifier");
    expect(mayStillFollow(service, among(serviceOf("shop-verifier")))).toBe(true);
    expect(mayStillFollow(service, among({ ...service, keys: [{ kty: "OKP", x: "another" }] }))).toBe(false);
    expect(mayStillFollow(service, among({ ...person(new Set(["revoke"])), name: "shop-verifier" }))).toBe(false);
    expect(mayStillFollow(service, among())).toBe(false);
    const security = person(new Set(["revoke"]));
    expect(mayStillFollow(security, among(person(new Set(["revoke", "audit"]))))).toBe(true);
    expect(mayStillFollow(security, among(person(new Set(["audit"]))))).toBe(false);
  });
});
