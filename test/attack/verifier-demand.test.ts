// The middleware in a real Express application: what reaches a protected route, and what is answered instead.

import { request as httpRequest } from "node:http";
import express from "express";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createVerifier, verifiedCall, type Verifier } from "../../src/sdk/verify.ts";
import {
  AUDIENCE,
  type FeedStandIn,
  listen,
  makeClock,
  type RunningServer,
  startFeedStandIn,
} from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

const clock = makeClock();
let broker: FeedStandIn;
let verifier: Verifier;
let shop: RunningServer;

beforeAll(async () => {
  broker = await startFeedStandIn(clock);
  verifier = createVerifier({
    issuer: broker.url,
    audience: AUDIENCE,
    environment: "staging",
    key: broker.serviceKey,
    clock,
  });
  const app = express();
  app.get(
    "/volumes/:id",
    verifier.demand("volume:read", (req: express.Request<{ id: string }>) => `shop:volume/${req.params.id}`),
    (req, res) => void res.json(verifiedCall(req)),
  );
  app.get("/unchecked", (req, res) => void res.json(verifiedCall(req)));
  app.get(
    "/throws",
    verifier.demand("volume:read", () => {
      throw new Error("no such volume");
    }),
    (_, res) => void res.end("reached"),
  );
  app.use(
    (_: unknown, __: unknown, res: express.Response, ___: express.NextFunction) => void res.status(500).end("failed"),
  );
  shop = await listen(app);
  await verifier.ready();
});
afterAll(async () => {
  verifier.close();
  await Promise.all([broker.close(), shop.close()]);
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** `fetch` joins repeated headers; this sends them as they are. */
function get(path: string, headers: string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${shop.url}${path}`, { headers: ["host", "shop", ...headers] }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => (body += text));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

describe("a route behind verifier.demand", () => {
  it("gets the verified call", async () => {
    const answer = await get("/volumes/vol_1", ["Authorization", `bearer ${await broker.mint()}`]);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({
      agent: "coder",
      action: "volume:read",
      resource: "shop:volume/vol_1",
    });
  });

  it("answers 401 without an error code when nothing is presented", async () => {
    const answer = await get("/volumes/vol_1", []);
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(answer.body)).toMatchObject({ status: 401, code: "credential_missing" });
  });

  it("refuses two Authorization headers, in any case, also when both are good", async () => {
    const jwt = await broker.mint();
    for (const second of ["Authorization", "AUTHORIZATION", "authorization"]) {
      const answer = await get("/volumes/vol_1", ["Authorization", `Bearer ${jwt}`, second, `Bearer ${jwt}`]);
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer error="invalid_token"');
    }
  });

  it.each(["", "Basic eDp5", "DPoP JWT", "Bearer", "Bearer JWT JWT", "Bearer JWT, Bearer JWT", "JWT"])(
    "refuses the header '%s'",
    async (form) => {
      const header = form.replaceAll("JWT", await broker.mint());
      expect((await get("/volumes/vol_1", ["Authorization", header])).status).toBe(401);
    },
  );

  it("reads no credential from the query or the body's place", async () => {
    expect((await get(`/volumes/vol_1?access_token=${await broker.mint()}`, [])).status).toBe(401);
  });

  it("answers 403 for a permission that the credential lacks, without repeating the request", async () => {
    for (const path of ["/volumes/vol_2", "/volumes/..%2Fvol_1", "/volumes/vol_1%20", "/volumes/*"]) {
      const answer = await get(path, ["Authorization", `Bearer ${await broker.mint()}`]);
      expect(answer.status).toBe(403);
      expect(answer.headers["www-authenticate"]).toBe('Bearer error="insufficient_scope"');
      expect(JSON.parse(answer.body)).toMatchObject({ code: "permission_missing" });
    }
  });

  it("hands an error of the application's own to next, and reaches no handler", async () => {
    const answer = await get("/throws", ["Authorization", `Bearer ${await broker.mint()}`]);
    expect(answer).toMatchObject({ status: 500, body: "failed" });
  });

  it("gives no call to a handler that forgot the check", async () => {
    expect((await get("/unchecked", ["Authorization", `Bearer ${await broker.mint()}`])).status).toBe(500);
  });

  it("refuses patterns and malformed names when it is set up", () => {
    expect(() => verifier.demand("volume:*", "shop:volume/vol_1")).toThrow(TypeError);
    expect(() => verifier.demand("volume:read", "shop:volume/*")).toThrow(TypeError);
  });

  it("answers 503 when the feed is stale, with a good credential too", async () => {
    const jwt = await broker.mint();
    clock.advance(5001);
    const answer = await get("/volumes/vol_1", ["Authorization", `Bearer ${jwt}`]);
    expect(answer.status).toBe(503);
    expect(answer.headers["retry-after"]).toBe("1");
    expect(JSON.parse(answer.body)).toMatchObject({ code: "feed_stale" });
    expect(answer.body).not.toContain(jwt);
  });
});
