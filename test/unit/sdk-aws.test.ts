// A grant on an AWS upstream in the SDK: what AWS's own clients take for `credentials`, another session when one is nearly
// over, the same one until then, and no JWT.

import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import type { GrantAnswer } from "../../src/api/grants.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { newId } from "../../src/core/ids.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { createGrantHandle } from "../../src/sdk/grant-handle.ts";
import { createTestClock } from "../support/test-clock.ts";

const MINUTE = 60_000;

function open({ lives, sessions }: { readonly lives: number; readonly sessions: number }) {
  const clock = createTestClock();
  const now = clock.now();
  const grant: GrantAnswer["grant"] = {
    id: newId("grt", now),
    agent: "coder",
    owner: null,
    task: "read",
    role: "reader",
    upstream: "cloud",
    permissions: [{ action: "object:read", resource: "cloud:bucket/uploads", environments: ["staging"] }],
    environments: ["staging"],
    crossingFrom: null,
    status: "active",
    endedBy: null,
    hold: null,
    issuedAt: toTimestamp(now),
    endsAt: toTimestamp(now + lives),
    ttlSeconds: lives / 1000,
    credentialTtlSeconds: 300,
    parents: [],
    policyDigest: "d",
    version: 1,
  };
  let made = 0;
  const credential = () => {
    const expiresAt = toTimestamp(Math.min(now + lives, clock.now() + sessions));
    const keys = { accessKeyId: `ASIA${++made}`, secretAccessKey: "SECRET", sessionToken: "TOKEN" };
    return { id: "crd_x", kind: "aws", region: "eu-central-1", ...keys, expiresAt } as const;
  };
  const send: typeof fetch = () => Promise.resolve(Response.json({ grant, credential: credential() }));
  const issuer = "https://broker.example";
  const api = createApiClient({ url: issuer, name: null, key: null, clock, fetch: send });
  return {
    clock,
    made: () => made,
    handle: createGrantHandle({ api, clock, send, issuer }, { grant, credential: credential() }),
  };
}

describe("a grant on AWS", () => {
  it("gives what AWS's clients take, the same until it ends", async () => {
    const { clock, made, handle } = open({ lives: 10 * MINUTE, sessions: 15 * MINUTE });
    const first = await handle.aws()();
    expect(first).toEqual({
      accessKeyId: "ASIA1",
      secretAccessKey: "SECRET",
      sessionToken: "TOKEN",
      expiration: new Date(handle.info.endsAt ?? ""),
    });
    clock.advance(9 * MINUTE);
    expect(await handle.aws()()).toEqual(first);
    expect(made()).toBe(1);
    clock.advance(2 * MINUTE);
    await expect(handle.aws()()).rejects.toMatchObject({ name: "GrantEndedError" });
  });

  it("is no JWT and no login, and says what to call", async () => {
    const { handle } = open({ lives: 10 * MINUTE, sessions: 15 * MINUTE });
    await expect(handle.credential()).rejects.toThrow("call its aws()");
    await expect(handle.postgres()).rejects.toThrow("of kind aws, and not for PostgreSQL");
  });

  it("shows no secret when it is logged", async () => {
    const { handle } = open({ lives: 10 * MINUTE, sessions: 15 * MINUTE });
    await handle.aws()();
    expect(inspect(handle, { depth: 10 }) + JSON.stringify(handle)).not.toMatch(/SECRET|TOKEN/);
  });
});
