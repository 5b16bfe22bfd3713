// A grant on a PostgreSQL upstream in the SDK: what `pg` takes, the same until the grant ends, and no JWT.

import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { newId } from "../../src/core/ids.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { createGrantHandle } from "../../src/sdk/grant-handle.ts";
import { createTestClock } from "../support/test-clock.ts";
import type { GrantAnswer } from "../../src/api/grants.ts";

const MINUTE = 60_000;

function open(changes: Partial<Extract<GrantAnswer["credential"], { kind: "postgres" }>> = {}) {
  const clock = createTestClock();
  const calls: string[] = [];
  const send: typeof fetch = (input) => {
    calls.push(new Request(input).url);
    return Promise.reject(new TypeError("fetch failed"));
  };
  const issuer = "https://broker.example";
  const api = createApiClient({ url: issuer, name: null, key: null, clock, fetch: send });
  const now = clock.now();
  const endsAt = toTimestamp(now + 10 * MINUTE);
  const grant: GrantAnswer["grant"] = {
    id: newId("grt", now),
    agent: "coder",
    owner: null,
    task: "count",
    role: "reader",
    upstream: "shop-db",
    permissions: [{ action: "data:read", resource: "shop-db:database/shop", environments: ["staging"] }],
    environments: ["staging"],
    crossingFrom: null,
    status: "active",
    endedBy: null,
    hold: null,
    issuedAt: toTimestamp(now),
    endsAt,
    ttlSeconds: 600,
    credentialTtlSeconds: 300,
    parents: [],
    policyDigest: "d",
    version: 1,
  };
  const credential = {
    id: "crd_x",
    kind: "postgres",
    host: "db.example",
    port: 5432,
    database: "shop",
    user: "vk_1",
    password: "SECRET",
    tls: true,
    ca: null,
    expiresAt: endsAt,
    ...changes,
  } as const;
  return { clock, calls, handle: createGrantHandle({ api, clock, send, issuer }, { grant, credential }) };
}

describe("a grant on PostgreSQL", () => {
  it("gives what pg takes, with TLS that is verified unless its upstream does without", async () => {
    const place = { host: "db.example", port: 5432, database: "shop", user: "vk_1", password: "SECRET" };
    expect(await open().handle.postgres()).toEqual({ ...place, ssl: { rejectUnauthorized: true } });
    expect(await open({ ca: "PEM" }).handle.postgres()).toEqual({
      ...place,
      ssl: { rejectUnauthorized: true, ca: "PEM" },
    });
    expect(await open({ tls: false }).handle.postgres()).toEqual({ ...place, ssl: false });
  });

  it("gives the same until it ends, without asking the broker, and nothing afterwards", async () => {
    const { clock, calls, handle } = open();
    const first = await handle.postgres();
    clock.advance(9 * MINUTE);
    expect(await handle.postgres()).toEqual(first);
    expect(calls).toEqual([]);
    clock.advance(2 * MINUTE);
    await expect(handle.postgres()).rejects.toMatchObject({ name: "GrantEndedError" });
  });

  it("is no JWT, and says what to call", async () => {
    const { handle } = open();
    await expect(handle.credential()).rejects.toThrow("call its postgres()");
    await expect(handle.authorization()).rejects.toThrow("call its postgres()");
    await expect(handle.fetch("https://db.example/")).rejects.toThrow("call its postgres()");
  });

  it("shows no password when it is logged", async () => {
    const { handle } = open();
    await handle.postgres();
    expect(inspect(handle, { depth: 10 }) + JSON.stringify(handle)).not.toContain("SECRET");
  });
});
