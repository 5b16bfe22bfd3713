// A grant that is held, in an agent's hands: it waits, it never becomes active, it is given up, it is picked up again.

import { inspect } from "node:util";
import type { JWK } from "jose";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Client,
  createClient,
  type Grant,
  GrantEndedError,
  GrantHeldError,
  HoldEndedError,
  RefusedError,
} from "../../src/sdk/client.ts";
import { type HeldBroker, openHeldBroker, ORIGIN, problem } from "../support/held-broker.ts";
import { makeCallerKey } from "../support/signed-feed.ts";

const permissions = [{ action: "volume:delete", resource: "railway:volume/vol_1" }];
let key: JWK;
let broker: HeldBroker;
let client: Client;

beforeAll(async () => {
  key = await makeCallerKey("coder");
});
beforeEach(() => {
  broker = openHeldBroker("grant");
  client = createClient({ url: ORIGIN, key, clock: broker.clock, fetch: broker.fetch });
});

const ask = (): Promise<Grant> => client.request({ task: "a task", permissions });
const done = { state: "done" } as const;
const lines = (method: string): string[] => broker.calls.filter((line) => line.startsWith(method));

describe("a held grant", () => {
  it("says so, and gives no credential before it is awaited", async () => {
    const grant = await ask();
    expect(grant).toMatchObject({ status: "held", hold: broker.hold().id, info: { endsAt: null } });
    for (const use of [
      grant.credential(),
      grant.authorization(),
      grant.fetch("https://shop.example/"),
      grant.fetch("https://evil.example/"),
      grant.gateway.fetch("/graphql/v2"),
    ]) {
      await expect(use).rejects.toBeInstanceOf(GrantHeldError);
    }
    await expect(grant.credential()).rejects.toThrow(/await its whenActive\(\)/);
    expect(broker.calls).toEqual(["POST /v1/grants"]);
    expect(broker.outside).toEqual([]);
    expect(JSON.parse(JSON.stringify(grant))).toMatchObject({ status: "held", endsAt: null });
    expect(inspect(grant)).toContain("held");
  });

  it("is awaited by long polls, however long it takes, and then gives credentials of a life that begins there", async () => {
    const grant = await ask();
    broker.steps = [...Array.from({ length: 200 }, () => ({})), done];
    await expect(grant.whenActive()).resolves.toBe(grant);
    const polls = lines("GET");
    expect(polls.pop()).toBe(`GET /v1/grants/${grant.id}`);
    expect(polls).toEqual(Array.from({ length: 201 }, () => `GET /v1/holds/${grant.hold}?wait=30`));
    expect(grant.status).toBe("active");
    expect(await Promise.all([grant.credential(), grant.credential()])).toEqual(["SECRET-1", "SECRET-1"]);
    expect(lines("POST")).toEqual(["POST /v1/grants", `POST /v1/grants/${grant.id}/credential`]);
    broker.clock.advance(899_000);
    expect(await grant.credential()).toBe("SECRET-2");
    broker.clock.advance(1000);
    await expect(grant.credential()).rejects.toBeInstanceOf(GrantEndedError);
    expect(grant.status).toBe("ended");
  });

  it("that is active is awaited without a request", async () => {
    const grant = await ask();
    broker.steps = [done];
    await Promise.all([grant.whenActive(), grant.whenActive()]);
    const before = broker.calls.length;
    await grant.whenActive({ timeoutMs: 1 });
    expect(broker.calls).toHaveLength(before);
  });

  it.each([
    ["denied", "bob", "not on a Friday", /was denied by bob: not on a Friday; nothing was done/],
    ["cancelled", "rev_1", null, /was cancelled by rev_1; nothing was done/],
    ["expired", "expiry", null, /has expired; nothing was done/],
    ["stale", "policy", "labels changed", /is stale by policy: labels changed; nothing was done/],
  ] as const)(
    "that ends as %s rejects with its hold, state and reason, every time",
    async (state, endedBy, why, says) => {
      const grant = await ask();
      broker.steps = [{}, { state, endedBy, why }];
      const error = await grant.whenActive().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(HoldEndedError);
      expect(error).toMatchObject({ name: "HoldEndedError", hold: grant.hold, state, endedBy, why });
      expect(String(error)).toMatch(says);
      await expect(grant.whenActive()).rejects.toBe(error);
      expect(grant.status).toBe("ended");
      await expect(grant.credential()).rejects.toBeInstanceOf(GrantEndedError);
      await grant.release();
      expect(lines("DELETE")).toEqual([]);
    },
  );

  it("shows no control characters of a reason", async () => {
    const grant = await ask();
    broker.steps = [{ state: "denied", endedBy: "bob", why: "\u001b[2J\u202eno" }];
    await expect(grant.whenActive()).rejects.toThrow(/by bob: \?\[2J\?no/);
  });

  it("stays held when a wait is given up, by time or by a signal, and can be awaited again", async () => {
    const grant = await ask();
    const late = await grant.whenActive({ timeoutMs: 5 }).catch((cause: unknown) => cause);
    expect(late).toBeInstanceOf(GrantHeldError);
    expect(String(late)).toMatch(/not active after 5 ms, and goes on waiting/);
    const stop = new AbortController();
    const stopped = grant.whenActive({ signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    expect(grant.status).toBe("held");
    expect(lines("DELETE")).toEqual([]);
    broker.steps = [done];
    await expect(grant.whenActive()).resolves.toBe(grant);
  });

  it("is awaited across a broker that is away", async () => {
    const grant = await ask();
    broker.fail("GET", new TypeError("fetch failed"));
    broker.steps = [done];
    await expect(grant.whenActive()).resolves.toBe(grant);
    expect(lines("GET")).toHaveLength(3);
  });

  it("rejects at once with what waiting does not mend", async () => {
    const grant = await ask();
    broker.fail("GET", problem(403, "power_missing"));
    await expect(grant.whenActive()).rejects.toBeInstanceOf(RefusedError);
    expect(grant.status).toBe("held");
  });

  it("that was active and ended while nobody looked is over, not denied", async () => {
    const grant = await ask();
    broker.steps = [{}, done];
    broker.fail(`GET /v1/grants/${grant.id}`, Response.json({ ...grant.info, status: "ended", endedBy: "carol" }));
    await expect(grant.whenActive()).rejects.toMatchObject({
      name: "GrantEndedError",
      message: expect.stringContaining("it was ended by carol"),
    });
  });
});

describe("the release of a held grant", () => {
  it("cancels its hold", async () => {
    const grant = await ask();
    await Promise.all([grant.release(), grant.release()]);
    expect(lines("DELETE")).toEqual([`DELETE /v1/holds/${grant.hold}`]);
    expect(broker.hold().state).toBe("cancelled");
    await expect(grant.whenActive()).rejects.toThrow(/it was released/);
  });

  it("ends the grant where it has become active meanwhile", async () => {
    const grant = await ask();
    broker.steps = [done];
    await client.hold(broker.hold().id).then((hold) => hold.whenEnded());
    expect(grant.status).toBe("held");
    await grant.release();
    expect(lines("DELETE")).toEqual([`DELETE /v1/holds/${grant.hold}`, `DELETE /v1/grants/${grant.id}`]);
  });

  it("that failed can be tried again, and nothing is taken for cancelled before", async () => {
    const grant = await ask();
    broker.fail("DELETE", problem(503, "store_unavailable"));
    await expect(grant.release()).rejects.toMatchObject({ code: "store_unavailable" });
    expect(grant.status).toBe("held");
    await grant.release();
    expect(broker.hold().state).toBe("cancelled");
  });

  it("happens when its scope ends, of a grant and of a task", async () => {
    await (async () => {
      await using grant = await ask();
      expect(grant.status).toBe("held");
    })();
    expect(broker.hold().state).toBe("cancelled");
    broker = openHeldBroker("grant");
    client = createClient({ url: ORIGIN, key, clock: broker.clock, fetch: broker.fetch });
    await (async () => {
      await using task = client.task("a task");
      await task.request({ permissions });
    })();
    expect(broker.hold().state).toBe("cancelled");
  });

  it("wakes who waits for it with an error", async () => {
    const grant = await ask();
    const waiting = grant.whenActive().catch((cause: unknown) => cause);
    await grant.release();
    await expect(waiting).resolves.toBeInstanceOf(GrantEndedError);
  });
});

describe("a grant that is picked up again", () => {
  it("is awaited as before, held or active", async () => {
    const { id } = await ask();
    const again = await client.grant(id);
    expect(again.status).toBe("held");
    broker.steps = [done];
    await again.whenActive();
    expect(await again.credential()).toBe("SECRET-1");
    const third = await client.grant(id);
    expect(third.status).toBe("active");
    expect(await third.authorization()).toBe("Bearer SECRET-2");
  });

  it("says how it ended where it has", async () => {
    const { id } = await ask();
    await (await client.hold(broker.hold().id)).cancel();
    const again = await client.grant(id);
    expect(again.status).toBe("ended");
    await expect(again.whenActive()).rejects.toMatchObject({ name: "HoldEndedError", state: "cancelled" });
    const before = lines("DELETE").length;
    await (await client.grant(id)).release();
    expect(lines("DELETE")).toHaveLength(before);
    await expect(client.grant("grt_of_another")).rejects.toMatchObject({ status: 404 });
  });
});
