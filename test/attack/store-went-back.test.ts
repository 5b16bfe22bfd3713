// A real Redis server is stopped, an older copy of its data is put in its place, and it goes on under the same address,
// with brokers connected that knew more. Nothing that was given before, and nothing that was revoked since the copy, may be
// good for anything from the first command on.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FeedMessage } from "../../src/api/revocations.ts";
import { BrokerError } from "../../src/core/errors.ts";
import type { StoredGrant } from "../../src/grants/grant-port.ts";
import type { AnyPrincipal } from "../../src/scopes/scope-set.ts";
import { activate, begin, cut, cutOffCommand, type draftGrant, eventOf, issue, renew } from "../contract/drafts.ts";
import { type GuardedBroker, type OldServer, openGuardedBroker, startOldServer } from "../support/guarded-broker.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000, expect: { poll: { timeout: 20_000 } } });

let server: OldServer;
let folder: string;
let running: GuardedBroker[];

const fileOf = (name: string): string => join(folder, `${name}.json`);

async function open(name: string, url: string = server.url): Promise<GuardedBroker> {
  const broker = await openGuardedBroker(url, fileOf(name));
  running.push(broker);
  return broker;
}

beforeEach(async () => {
  server = await startOldServer();
  folder = mkdtempSync(join(tmpdir(), "valetkey-known-"));
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((broker) => broker.close().catch(() => undefined)));
  await server.close();
  rmSync(folder, { recursive: true });
});

/** Proofs as callers make them, after whatever was refused. */
const fresh = (broker: GuardedBroker) => ({
  key: `coder ${crypto.randomUUID()}`,
  issuedAt: broker.at() + 60_000,
  forgetAt: broker.at() + 120_000,
});

async function give(broker: GuardedBroker, changes: Parameters<typeof draftGrant>[0] = {}): Promise<StoredGrant> {
  const done = await issue(broker, broker.at(), changes, { proof: fresh(broker) });
  if (done.outcome !== "issued") throw new Error(`expected a grant, found ${done.outcome}`);
  return done.grant;
}

/** The first that is not for want of a connection; only these may be tried again. */
async function firstOutcome(act: () => Promise<{ readonly outcome: string }>): Promise<string> {
  for (;;) {
    try {
      return (await act()).outcome;
    } catch (thrown) {
      if (!(thrown instanceof BrokerError)) throw thrown;
      if (thrown.code !== "store_unavailable") return thrown.code;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

const revoke = async (broker: GuardedBroker, target: Parameters<typeof cut>[2]) => {
  const cutOff = await cut(broker, broker.at(), target);
  broker.publish({ kind: "cut_off", cutOff });
  return cutOff;
};
const problems = (broker: GuardedBroker): string[] => broker.log.filter((line) => line.startsWith("error"));

async function givenThenCopied(broker: GuardedBroker): Promise<StoredGrant> {
  await activate(broker, broker.at());
  const grant = await give(broker);
  await server.copy();
  await expect.poll(() => firstOutcome(() => renew(broker, broker.at(), grant, fresh(broker)))).toBe("renewed");
  return grant;
}

describe("a store that is set back under its brokers", () => {
  it("refuses the first of each that gives, of a broker that knew more", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await revoke(broker, { agent: "another" });
    await server.setBack();
    const all = await Promise.all([
      firstOutcome(() => issue(broker, broker.at(), {}, { proof: fresh(broker) })),
      firstOutcome(() => renew(broker, broker.at(), grant, fresh(broker))),
      firstOutcome(() => begin(broker, broker.at(), grant)),
    ]);
    expect(all).toEqual(["store_went_back", "store_went_back", "store_went_back"]);
    await expect.poll(() => broker.guard.problem()).toMatch(/has lost some of its past.*--acknowledge-store/);
    expect(problems(broker)).toHaveLength(1);
  });

  it("refuses it too where a broker that knew nothing has written more since than was lost", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await revoke(broker, { agent: "another" });
    const known = (await broker.head()).seq;
    await server.setBack(async (url) => {
      const newcomer = await open("two", url);
      while ((await newcomer.head()).seq < known + 5) await give(newcomer);
      await newcomer.close();
    });
    expect(await firstOutcome(() => begin(broker, broker.at(), grant))).toBe("store_went_back");
  });

  it("refuses all other brokers from then on, also those that knew less or nothing", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await revoke(broker, { agent: "another" });
    await server.setBack();
    expect(await firstOutcome(() => begin(broker, broker.at(), grant))).toBe("store_went_back");
    const newcomer = await open("two");
    expect(await firstOutcome(() => begin(newcomer, newcomer.at(), grant))).toBe("store_went_back");
    expect(newcomer.guard.problem()).not.toBeNull();
  });

  it("is noticed by a broker that was down meanwhile, by its file", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await revoke(broker, { agent: "another" });
    await broker.close();
    await server.setBack();
    const again = await open("one");
    expect(again.guard.problem()).not.toBeNull();
    expect(await firstOutcome(() => begin(again, again.at(), grant))).toBe("store_went_back");
  });

  it("is noticed by its file after the process had gone, as far as it was on disk", async () => {
    const broker = await open("one");
    await givenThenCopied(broker);
    const { id } = await revoke(broker, { agent: "another" });
    await expect.poll(() => readFileSync(fileOf("one"), "utf8").includes(id)).toBe(true);
    await broker.kill();
    await server.setBack();
    const again = await open("one");
    expect(again.guard.problem()).not.toBeNull();
    expect((await again.snapshot(again.at())).cutOffs.map((each) => each.id)).toEqual([id]);
  });

  it("is not taken for a new one where it is suddenly empty", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await server.wipe();
    expect(await firstOutcome(() => begin(broker, broker.at(), grant))).toBe("store_went_back");
    await broker.close();
    await server.wipe();
    const again = await open("one");
    expect(again.guard.problem()).not.toBeNull();
    await activate(again, again.at());
    expect(await firstOutcome(() => issue(again, again.at(), {}, { proof: fresh(again) }))).toBe("store_went_back");
  });

  it("goes on by itself where the newer state is put back", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    await server.copy();
    await server.setBack();
    expect(await firstOutcome(() => begin(broker, broker.at(), grant))).toBe("begun");
    expect(broker.guard.problem()).toBeNull();
  });
});

describe("what was revoked in what the store lost", () => {
  it("is written back by whoever knew it, and holds through the recovery and after it", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    const task = "closed since the copy";
    const { id } = await revoke(broker, { agent: "coder" });
    await revoke(broker, { task });
    const frozen = await broker.freeze({ ...cutOffCommand(broker.at(), { agent: "thief" }, null), agent: "thief" });
    if (frozen.outcome === "frozen") broker.publish({ kind: "cut_off", cutOff: frozen.cutOff });
    await expect.poll(() => readFileSync(fileOf("one"), "utf8").includes('"agent":"thief"')).toBe(true);
    const { number } = await broker.snapshot(broker.at());
    const outcomes: string[] = [];
    await server.setBack();
    for (let i = 0; i < 20; i++) outcomes.push(await firstOutcome(() => begin(broker, broker.at(), grant)));
    await expect.poll(async () => (await broker.snapshot(broker.at())).frozen).toEqual(["thief"]);
    const restored = await broker.snapshot(broker.at());
    expect(restored.cutOffs.map((each) => each.id)).toContain(id);
    for (const each of restored.cutOffs) expect(each.number).toBeGreaterThan(number);

    await broker.acknowledge();
    for (let i = 0; i < 20; i++) outcomes.push(await firstOutcome(() => begin(broker, broker.at(), grant)));
    expect(outcomes).toEqual([...Array(20).fill("store_went_back"), ...Array(20).fill("cut_off")]);
    expect(await firstOutcome(() => issue(broker, broker.at(), { task }, { proof: fresh(broker) }))).toBe("cut_off");
    const thief = { agent: "thief", task: "t" };
    expect(await firstOutcome(() => issue(broker, broker.at(), thief, { proof: fresh(broker) }))).toBe("agent_frozen");
    expect((await give(broker, { task: "another" })).id).toMatch(/^grt_/);
    expect(broker.guard.problem()).toBeNull();
  });

  it("is in the first snapshot that any verifier gets after that, at each of two brokers", async () => {
    const [one, two] = [await open("one"), await open("two")];
    await givenThenCopied(one);
    const { id } = await revoke(one, { agent: "coder" });
    await server.setBack();
    const messages: FeedMessage[] = [];
    // As far as it is looked at.
    const principal = { kind: "Service", name: "shop-verifier", keys: [] } as unknown as AnyPrincipal;
    const send = (_: string, jws: string): boolean => {
      // The feed signs what it has made.
      messages.push(JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()) as FeedMessage);
      return true;
    };
    for (const broker of [one, two]) {
      await expect
        .poll(async () => {
          messages.length = 0;
          await broker.feed.subscribe({ principal, send, close: () => undefined }).catch(() => undefined);
          return messages.length;
        })
        .toBe(1);
      const [first] = messages;
      expect(first?.kind === "snapshot" && first.cutOffs.map((each) => each.id)).toContain(id);
    }
  });

  it("is written back by a broker that comes back after the recovery", async () => {
    const [one, two] = [await open("one"), await open("two")];
    await givenThenCopied(one);
    const { id } = await revoke(two, { task: "closed" });
    await two.close();
    await server.setBack();
    await expect.poll(() => one.guard.problem()).not.toBeNull();
    await one.acknowledge();
    const again = await open("two");
    expect(again.guard.problem()).toBeNull();
    expect((await one.snapshot(one.at())).cutOffs.map((each) => each.id)).toContain(id);
    expect(await firstOutcome(() => issue(one, one.at(), { task: "closed" }, { proof: fresh(one) }))).toBe("cut_off");
  });

  it("has keys that were retired since the copy retired again, before anything is given", async () => {
    const broker = await open("one");
    await givenThenCopied(broker);
    const before = broker.ring.list().map(({ id }) => id);
    await broker.ring.rotate({ person: "admin-1", proof: fresh(broker), compromised: true });
    await server.setBack();
    await expect.poll(() => broker.guard.problem()).not.toBeNull();
    await expect.poll(async () => (await broker.keys()).filter(({ id }) => before.includes(id))).toEqual([]);
    expect((await broker.snapshot(broker.at())).retiredKeys).toEqual(expect.arrayContaining(before));
    expect(broker.ring.list().filter(({ state }) => state === "active")).toHaveLength(2);
  });
});

describe("what was used in what the store lost", () => {
  it("is a proof that stands for nothing again, before the recovery and after it", async () => {
    const broker = await open("one");
    await givenThenCopied(broker);
    const proof = { ...fresh(broker), issuedAt: broker.at() };
    expect((await issue(broker, broker.at(), {}, { proof })).outcome).toBe("issued");
    const read = { ...fresh(broker), issuedAt: broker.at() };
    expect(await broker.consume(read, broker.at())).toBe(true);
    await server.setBack();
    expect(await firstOutcome(() => issue(broker, broker.at(), {}, { proof }))).toBe("store_went_back");
    await broker.acknowledge();
    expect(await firstOutcome(() => issue(broker, broker.at(), {}, { proof }))).toBe("proof_replayed");
    expect(await broker.consume(read, broker.at())).toBe(false);
  });

  it("is void with everything else that was given, and on record with who accepted it", async () => {
    const broker = await open("one");
    const grant = await givenThenCopied(broker);
    const lost = await give(broker);
    await broker.append({ at: broker.at(), proof: null, events: [eventOf("broker.started")] });
    await server.setBack();
    await expect.poll(() => broker.guard.problem()).not.toBeNull();
    const { seq } = await broker.head();
    const done = await broker.acknowledge();
    expect(done).toMatchObject({ epoch: 1, found: { epoch: 0 } });
    expect(done.known.seq).toBeGreaterThan(done.found.seq);
    expect(await firstOutcome(() => renew(broker, broker.at(), grant, fresh(broker)))).toBe("cut_off");
    expect(await firstOutcome(() => renew(broker, broker.at(), lost, fresh(broker)))).toBe("not_found");
    const everything = (await broker.snapshot(broker.at())).cutOffs.find(({ target }) => target.everything === true);
    expect(everything).toMatchObject({ id: done.revocation, by: "admin-1" });
    expect(everything?.before).toBeGreaterThanOrEqual(lost.issuedAt);
    expect(everything?.keptUntil).toBeGreaterThan(lost.endsAt);
    const types = (await broker.read(seq, 100)).map((text) => (JSON.parse(text) as { type: string }).type);
    expect(types).toEqual(["cutoff.created", "store.recovered"]);
    await expect(broker.acknowledge()).rejects.toMatchObject({ code: "conflict" });
  });
});
