// A hold in an agent's hands: its end, its cancellation, and the upstream's answer, which the broker hands out once.

import type { JWK } from "jose";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeId } from "../../src/core/ids.ts";
import { type Client, createClient, HoldEndedError, OutcomeGoneError, RefusedError } from "../../src/sdk/client.ts";
import { type HeldBroker, openHeldBroker, ORIGIN, outcomeOf, problem, recordOf } from "../support/held-broker.ts";
import { makeCallerKey } from "../support/signed-feed.ts";

let key: JWK;
let broker: HeldBroker;
let client: Client;
let id: string;

beforeAll(async () => {
  key = await makeCallerKey("coder");
});
beforeEach(() => {
  broker = openHeldBroker("call");
  client = createClient({ url: ORIGIN, key, clock: broker.clock, fetch: broker.fetch });
  ({ id } = broker.hold());
});

/** The call is made, and answered so. */
function answered(outcome: ReturnType<typeof outcomeOf>, state: "done" | "failed" = "done"): void {
  broker.outcome = outcome;
  broker.steps.push({ state: "firing" }, { state, outcome: recordOf(outcome) });
}

const outcomeLines = (): string[] => broker.calls.filter((line) => line.endsWith("/outcome"));

describe("a hold", () => {
  it("is described as the broker has it, and followed to its end whichever that is", async () => {
    const hold = await client.hold(id);
    expect(hold).toMatchObject({ id, info: { state: "waiting", missing: [{ kind: "delay" }] } });
    broker.steps = [{}, { state: "ready" }, { state: "firing" }, { state: "stale", why: "labels changed" }];
    await expect(hold.whenEnded()).resolves.toMatchObject({ state: "stale", why: "labels changed" });
    expect(hold.info.state).toBe("stale");
    const before = broker.calls.length;
    await hold.whenEnded();
    expect(broker.calls).toHaveLength(before);
  });

  it("of another agent is not found", async () => {
    const other = makeId("hld", 0, "0000000000000009");
    await expect(client.hold(other)).rejects.toMatchObject({ name: "RefusedError", status: 404 });
  });

  it.each([
    ["bad id", "another text"],
    ["..", "another text"],
    ["", "another text"],
    ["grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D", "the id of a grant"],
    // Of callers without types.
    [undefined as unknown as string, "undefined"],
  ])(
    "by no hold's id, %j, is refused at once: nothing is asked, and what was given is not repeated",
    async (given, found) => {
      const message = `expected the id of a hold like 'hld_01J…', found ${found}; a held grant has it as its \`hold\``;
      await expect(client.hold(given)).rejects.toMatchObject({ name: "ValetkeyError", message });
      expect(broker.calls).toEqual([]);
    },
  );

  it("can be cancelled until it fires, and says so where it is too late", async () => {
    const hold = await client.hold(id);
    await hold.cancel("not needed any more");
    expect(hold.info).toMatchObject({ state: "cancelled", endedBy: "coder" });
    await expect(hold.cancel()).rejects.toBeInstanceOf(RefusedError);
    await expect(hold.response()).rejects.toMatchObject({ name: "HoldEndedError", state: "cancelled" });
  });
});

describe("the answer to a held call", () => {
  it("is the upstream's status, headers and body", async () => {
    answered(
      outcomeOf(id, '{"ok":"ü"}', {
        status: 201,
        headers: [
          ["content-type", "application/json"],
          ["link", "<x>"],
          ["link", "<y>"],
        ],
      }),
    );
    const response = await (await client.hold(id)).response();
    expect(response).toBeInstanceOf(Response);
    expect([response.status, response.ok, response.headers.get("link")]).toEqual([201, true, "<x>, <y>"]);
    await expect(response.json()).resolves.toEqual({ ok: "ü" });
  });

  it("is an answer also where the upstream refused", async () => {
    answered(outcomeOf(id, "no such volume", { status: 404 }), "failed");
    const response = await (await client.hold(id)).response();
    expect([response.status, await response.text()]).toEqual([404, "no such volume"]);
  });

  it.each([204, 205, 304])("with %i has no body", async (status) => {
    answered(outcomeOf(id, "", { status }));
    const response = await (await client.hold(id)).response();
    expect([response.status, response.body]).toEqual([status, null]);
  });

  it("is passed on byte for byte, up to the largest that the broker keeps", async () => {
    const bytes = new Uint8Array(1_048_576).map((_, n) => (n * 31) % 251);
    answered(outcomeOf(id, bytes));
    const response = await (await client.hold(id)).response();
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
  });

  it("can be read once: then its status and digest are what is left", async () => {
    answered(outcomeOf(id, "done"));
    const hold = await client.hold(id);
    await hold.response();
    const gone = { name: "OutcomeGoneError", hold: id, status: 200, body: { bytes: 4 } };
    await expect(hold.response()).rejects.toMatchObject(gone);
    expect(outcomeLines()).toHaveLength(1);
    // Another process, by what the broker says.
    const error = await (await client.hold(id)).response().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(OutcomeGoneError);
    expect(error).toMatchObject(gone);
    expect(String(error)).toMatch(/was made and answered with 200.*do not send the call again/);
  });

  it("that was lost on the way is gone, and that never left is asked for again", async () => {
    answered(outcomeOf(id, "done"));
    broker.fail(`GET /v1/holds/${id}/outcome`, new TypeError("fetch failed"));
    await expect((await client.hold(id)).response()).resolves.toMatchObject({ status: 200 });
    expect(outcomeLines()).toHaveLength(2);
    broker.fail(`GET /v1/holds/${id}/outcome`, problem(404, "not_found"));
    await expect((await client.hold(id)).response()).rejects.toBeInstanceOf(OutcomeGoneError);
  });

  it("that was not kept is told by its digest without asking for it", async () => {
    broker.steps = [
      { state: "done", outcome: { status: 200, body: { sha256: "ab", bytes: 9_999_999 }, readable: false } },
    ];
    await expect((await client.hold(id)).response()).rejects.toThrow(/not kept.*SHA-256 ab/);
    broker.steps = [];
    expect(outcomeLines()).toEqual([]);
  });

  const lies: Readonly<Record<string, Parameters<typeof outcomeOf>[2]>> = {
    "another digest than its body has": { sha256: "0".repeat(64) },
    "another body than its digest says": { body: Buffer.from("other").toString("base64") },
    "a status that is none": { status: 99 },
    "a header that is none": { headers: [["x y", "1"]] },
    "a header's value that is two": { headers: [["x", "1\r\ny: 2"]] },
  };
  for (const [what, lie] of Object.entries(lies)) {
    it(`is not passed on with ${what}`, async () => {
      const honest = outcomeOf(id, "done");
      answered(honest);
      broker.outcome = { ...honest, ...lie };
      const error = await (await client.hold(id)).response().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(OutcomeGoneError);
    });
  }

  it("is not passed on where the hold recorded another", async () => {
    broker.outcome = outcomeOf(id, "made up");
    broker.steps = [{ state: "done", outcome: recordOf(outcomeOf(id, "done")) }];
    await expect((await client.hold(id)).response()).rejects.toBeInstanceOf(OutcomeGoneError);
  });

  it.each(["denied", "cancelled", "expired", "stale", "unknown"] as const)(
    "is an error for a hold that is %s",
    async (state) => {
      broker.steps = [{ state, endedBy: "bob", why: "so" }];
      const error = await (await client.hold(id)).response().catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(HoldEndedError);
      expect(error).toMatchObject({ hold: id, state, endedBy: "bob", why: "so" });
      expect(/nothing was done/.test(String(error))).toBe(state !== "unknown");
      expect(outcomeLines()).toEqual([]);
    },
  );

  it("is not looked for where the hold is a grant's", async () => {
    broker = openHeldBroker("grant");
    client = createClient({ url: ORIGIN, key, clock: broker.clock, fetch: broker.fetch });
    await expect((await client.hold(broker.hold().id)).response()).rejects.toThrow(/await its whenActive/);
  });

  it("is left where it is when the wait is given up", async () => {
    const hold = await client.hold(id);
    const stop = new AbortController();
    const waiting = hold.response({ signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    answered(outcomeOf(id, "done"));
    await expect(hold.response()).resolves.toMatchObject({ status: 200 });
  });
});
