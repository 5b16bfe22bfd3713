// Grants in an agent's hands: renewal on demand, release, task scopes, and that no handle shows its credential.
// The broker's side is a small scripted stand-in behind `fetch`; the real one is driven through this client elsewhere.

import { inspect } from "node:util";
import type { JWK } from "jose";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Grant as GrantBody } from "../../src/api/grants.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { makeId } from "../../src/core/ids.ts";
import { type Client, createClient, type Grant, GrantEndedError, RefusedError } from "../../src/sdk/client.ts";
import { makeCallerKey, makeClock } from "../support/signed-feed.ts";

const start = 1_800_000_000_000;
const permissions = [{ action: "volume:read", resource: "shop:volume/vol_1" }];
let key: JWK;
let clock: ReturnType<typeof makeClock>;
let client: Client;
let calls: string[];
let bodies: unknown[];
let outside: Request[];
/** What the broker answers next, per kind of call; null: as usual. */
let failing: { request?: number; renew?: number | "network"; end?: number };
let minted: number;
let credentialSeconds: number;
let grantSeconds: number;

beforeAll(async () => {
  key = await makeCallerKey("coder");
});

beforeEach(() => {
  clock = makeClock(start);
  [calls, bodies, outside] = [[], [], []];
  failing = {};
  [minted, credentialSeconds, grantSeconds] = [0, 300, 900];
  client = createClient({ url: "https://broker.example", key, clock, fetch: broker });
});

const issued = new Map<string, number>();

function grantBody(id: string): GrantBody {
  const issuedAt = issued.get(id) ?? clock.now();
  issued.set(id, issuedAt);
  return {
    id: id as GrantBody["id"],
    agent: "coder",
    owner: null,
    task: "a task",
    role: "reader",
    upstream: "shop",
    permissions: permissions.map((permission) => ({ ...permission, environments: ["staging"] })),
    environments: ["staging"],
    crossingFrom: null,
    status: "active",
    endedBy: null,
    hold: null,
    issuedAt: toTimestamp(issuedAt),
    endsAt: toTimestamp(issuedAt + grantSeconds * 1000),
    ttlSeconds: grantSeconds,
    credentialTtlSeconds: credentialSeconds,
    parents: [],
    policyDigest: "d",
    version: minted,
  };
}

function granted(id: string): Response {
  const grant = grantBody(id);
  const expiresAt = Math.min(
    Math.floor(clock.now() / 1000) * 1000 + credentialSeconds * 1000,
    Date.parse(grant.endsAt ?? ""),
  );
  minted++;
  const credential = {
    id: "crd_x",
    kind: "jwt",
    value: `SECRET-${minted}`,
    audience: "https://shop.example/api",
    expiresAt: toTimestamp(expiresAt),
  };
  return Response.json({ grant, credential }, { status: 201 });
}

function refusal(status: number): Response {
  const body = {
    type: "about:blank",
    title: "t",
    status,
    code: status === 503 ? "store_unavailable" : "cut_off",
    detail: `answered ${status}`,
    reasons: [],
  };
  return Response.json(body, { status, headers: { "content-type": "application/problem+json" } });
}

async function broker(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const url = new URL(request.url);
  if (url.origin !== "https://broker.example") {
    outside.push(request);
    return new Response("fine");
  }
  const kind = url.pathname.endsWith("/credential") ? "renew" : request.method === "DELETE" ? "end" : "request";
  calls.push(kind);
  await Promise.resolve();
  const failure = failing[kind];
  if (failure === "network") throw new TypeError("fetch failed");
  if (failure !== undefined) return refusal(failure);
  const id = url.pathname.split("/")[3] ?? "";
  if (kind === "renew") return granted(id);
  if (kind === "end") return Response.json(grantBody(id));
  const body: unknown = await request.json();
  bodies.push(body);
  if (!JSON.stringify(body).includes('"dryRun":true'))
    return granted(makeId("grt", clock.now(), String(calls.length).padStart(16, "0")));
  return Response.json({
    outcome: "allowed",
    role: "reader",
    upstream: "shop",
    environments: ["staging"],
    ttlSeconds: 900,
    demands: [],
    reasons: [],
    calls: null,
    policyDigest: "d",
  });
}

const ask = (): Promise<Grant> => client.request({ task: "a task", permissions, ttl: "15m" });

describe("a request", () => {
  it("sends what was asked for and nothing of the client's own", async () => {
    await client.request({
      task: "a task",
      permissions,
      role: "reader",
      reason: "why",
      signal: new AbortController().signal,
    });
    expect(bodies).toEqual([{ task: "a task", permissions, role: "reader", reason: "why" }]);
    await expect(client.request({ task: "a task", permissions, dryRun: true })).resolves.toMatchObject({
      outcome: "allowed",
    });
    expect(calls).toEqual(["request", "request"]);
  });

  it("that is refused throws the broker's reasons", async () => {
    failing.request = 403;
    await expect(ask()).rejects.toBeInstanceOf(RefusedError);
  });
});

describe("a grant's credential", () => {
  it("is the one in hand until a fifth of its life is left, then another", async () => {
    const grant = await ask();
    clock.advance(239_999);
    expect(await grant.credential()).toBe("SECRET-1");
    clock.advance(1);
    expect(await grant.credential()).toBe("SECRET-2");
    expect(await grant.authorization()).toBe("Bearer SECRET-2");
    expect(grant.info.version).toBe(1);
    expect(calls).toEqual(["request", "renew"]);
  });

  it("is renewed once for all who ask at the same time", async () => {
    const grant = await ask();
    clock.advance(290_000);
    expect(new Set(await Promise.all(Array.from({ length: 20 }, () => grant.credential())))).toEqual(
      new Set(["SECRET-2"]),
    );
    expect(calls).toEqual(["request", "renew"]);
  });

  it("is not renewed on every use when it lives for seconds", async () => {
    credentialSeconds = 8;
    const grant = await ask();
    clock.advance(3999);
    await grant.credential();
    expect(calls).toEqual(["request"]);
    clock.advance(1);
    expect(await grant.credential()).toBe("SECRET-2");
  });

  it("is not renewed past the grant's end", async () => {
    grantSeconds = 300;
    clock.advance(123);
    const grant = await ask();
    clock.advance(299_000);
    expect(await grant.credential()).toBe("SECRET-1");
    clock.advance(1000);
    await expect(grant.credential()).rejects.toBeInstanceOf(GrantEndedError);
    expect(calls).toEqual(["request"]);
  });

  it.each(["network", 503, 429, 401] as const)(
    "in hand serves while the broker answers a renewal with %s",
    async (failure) => {
      const grant = await ask();
      failing.renew = failure;
      clock.advance(250_000);
      expect(await grant.credential()).toBe("SECRET-1");
      expect(await grant.credential()).toBe("SECRET-1");
      expect(calls).toEqual(["request", "renew"]);
      clock.advance(1000);
      expect(await grant.credential()).toBe("SECRET-1");
      expect(calls.length).toBe(3);
      clock.advance(49_000);
      await expect(grant.credential()).rejects.not.toBeInstanceOf(GrantEndedError);
      delete failing.renew;
      expect(await grant.credential()).toBe("SECRET-2");
    },
  );

  it.each([403, 404, 409])("is gone for good when the broker answers a renewal with %i", async (status) => {
    const grant = await ask();
    failing.renew = status;
    clock.advance(250_000);
    await expect(grant.credential()).rejects.toBeInstanceOf(GrantEndedError);
    delete failing.renew;
    await expect(grant.credential()).rejects.toThrow(`grant ${grant.id} is over: answered ${status}; request another`);
    expect(calls).toEqual(["request", "renew"]);
  });

  it("cannot be seen in a handle by accident", async () => {
    const task = client.task("a task");
    const grant = await task.request({ permissions });
    const shown = [
      JSON.stringify(grant),
      inspect(grant, { depth: 9, showHidden: true }),
      JSON.stringify(Object.entries(grant)),
      inspect(task, { depth: 9 }),
      inspect(client, { depth: 9 }),
    ];
    for (const text of shown) expect(text).not.toContain("SECRET");
    expect(shown[1]).toContain(grant.id);
  });
});

describe("a grant's fetch", () => {
  it("adds the credential for the audience's origin and nowhere else", async () => {
    const grant = await ask();
    for (const url of [
      "https://shop.example/volumes/1",
      "https://shop.example:443/x",
      "https://shop.example.evil.example/",
      "http://shop.example/",
      "https://shop.example:8443/",
      "https://evil.example/?https://shop.example",
    ]) {
      await grant.fetch(url, { headers: { "x-mine": "1" } });
    }
    expect(outside.map((request) => request.headers.get("authorization"))).toEqual([
      "Bearer SECRET-1",
      "Bearer SECRET-1",
      null,
      null,
      null,
      null,
    ]);
    expect(outside.every((request) => request.headers.get("x-mine") === "1")).toBe(true);
  });

  it("takes a Request with its body", async () => {
    const grant = await ask();
    await grant.fetch(
      new Request("https://shop.example/x", { method: "POST", body: "data", headers: { authorization: "Basic x" } }),
    );
    expect(await outside[0]?.text()).toBe("data");
    expect(outside[0]?.headers.get("authorization")).toBe("Bearer SECRET-1");
  });
});

describe("a release", () => {
  it("ends the grant once, and nothing is given afterwards", async () => {
    const grant = await ask();
    await Promise.all([grant.release(), grant.release()]);
    await grant.release();
    expect(calls).toEqual(["request", "end"]);
    await expect(grant.credential()).rejects.toThrow(/it was released/);
    await expect(grant.fetch("https://shop.example/")).rejects.toBeInstanceOf(GrantEndedError);
  });

  it.each([403, 404, 409])("of a grant that the broker ended already (%i) is done", async (status) => {
    const grant = await ask();
    failing.end = status;
    await expect(grant.release()).resolves.toBeUndefined();
  });

  it("that failed can be tried again", async () => {
    const grant = await ask();
    failing.end = 503;
    await expect(grant.release()).rejects.toMatchObject({ code: "store_unavailable" });
    delete failing.end;
    await grant.release();
    expect(calls).toEqual(["request", "end", "end"]);
  });

  it("asks nobody when the grant's time is up by every clock", async () => {
    const grant = await ask();
    clock.advance(900_000 + 30_000);
    failing.end = 503;
    await grant.release();
    expect(calls).toEqual(["request"]);
  });
});

async function failingWork(before: () => void): Promise<void> {
  await using task = client.task("a task");
  await task.request({ permissions });
  await task.request({ permissions });
  before();
  throw new Error("the work failed");
}

describe("a task scope", () => {
  it("releases every grant when the block ends, also when the work failed", async () => {
    await expect(failingWork(() => undefined)).rejects.toThrow("the work failed");
    expect(calls).toEqual(["request", "request", "end", "end"]);
  });

  it("tries every release when some fail, says so, and can be asked again", async () => {
    const task = client.task("a task");
    await Promise.all([task.request({ permissions }), task.request({ permissions }), task.request({ permissions })]);
    failing.end = 503;
    const error = await task.release().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({ errors: { length: 3 } });
    delete failing.end;
    calls = [];
    await task.release();
    await task.release();
    expect(calls).toEqual(["end", "end", "end"]);
  });

  it("keeps the work's error when a release fails too", async () => {
    const error = await failingWork(() => void (failing.end = 503)).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(SuppressedError);
    expect(error).toMatchObject({ suppressed: { message: "the work failed" }, error: { name: "AggregateError" } });
  });

  it("releases a grant that arrives after the end, and gives no more", async () => {
    const task = client.task("a task");
    const late = task.request({ permissions });
    await task.release();
    await expect((await late).credential()).rejects.toBeInstanceOf(GrantEndedError);
    await expect(task.request({ permissions })).rejects.toThrow(/has ended/);
    expect(calls).toEqual(["request", "end"]);
  });

  it("does not stumble over a request that was refused", async () => {
    const task = client.task("a task");
    failing.request = 403;
    await expect(task.request({ permissions })).rejects.toBeInstanceOf(RefusedError);
    await expect(task.release()).resolves.toBeUndefined();
  });
});
