// What a hostile or broken upstream does when a held call fires: refuses, fails, is silent, resets, redirects, answers
// without end, tells the key back. The call is sent once, whatever it does, and what is known of it is said and kept.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Hold } from "../../src/api/holds.ts";
import { createHolding, eventsOf, type Holding, roleWith } from "../support/holding.ts";
import { type OddGateway, ROOT, startOddGateway } from "../support/odd-gateway.ts";
import {
  type Behaviour,
  huge,
  never,
  openOddUpstream,
  plain,
  raw,
  resets,
  resetsMidway,
  stopsMidway,
} from "../support/odd-upstream.ts";
import { readEvents } from "../support/read-events.ts";

const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] } }", "thing-worker")
  .replace("[volume:delete]", "[thing:read, thing:change]")
  .replace("{ upstream: railway, type: volume }", "{ type: thing }");

let gateway: OddGateway;
let holding: Holding;
let tasks = 0;
beforeAll(async () => {
  gateway = await startOddGateway({ role: ROLE });
  holding = createHolding(gateway.broker);
});
afterAll(() => gateway.close());

async function held(): Promise<string> {
  const { credential } = await gateway.grant("odd", `wait ${++tasks}`);
  const answer = await gateway.get({ credential: credential.value });
  const id = answer.headers.get("valetkey-hold");
  await answer.body?.cancel();
  if (answer.status !== 202 || id === null) throw new Error(`expected it to be held, found ${answer.status}`);
  return id;
}

/** Held, signed, and fired at this; what became of it, and how often it arrived. */
async function fireAt(behaviour: Behaviour): Promise<{ readonly hold: Hold; readonly sent: number }> {
  const id = await held();
  const before = gateway.upstream.requests.length;
  gateway.behave(behaviour);
  await holding.sign("oncall-1", id);
  const hold = await holding.ended(id);
  return { hold, sent: gateway.upstream.requests.length - before };
}

const outcomeOf = (id: string) => gateway.broker.as("coder").call("readOutcome", { params: { id } });
const textOf = ({ body }: { readonly body: string }): string => Buffer.from(body, "base64").toString();

describe("an upstream that answers", () => {
  it("well is done; its agent alone reads the answer, once", async () => {
    const { hold, sent } = await fireAt(plain("gone", ["X-Kind: answer"]));
    expect(sent).toBe(1);
    expect(hold).toMatchObject({ state: "done", endedBy: null, outcome: { status: 200, readable: true } });
    const { id } = hold;
    await expect(gateway.broker.as("other-agent").call("readOutcome", { params: { id } })).rejects.toMatchObject({
      code: "not_found",
    });
    for (const name of ["oncall-1", "security-1", "admin-1"]) {
      const refused = gateway.broker.as(name).call("readOutcome", { params: { id } });
      await expect(refused, name).rejects.toMatchObject({ code: "power_missing" });
    }
    const outcome = await outcomeOf(id);
    expect(outcome).toMatchObject({ hold: id, status: 200, sha256: hold.outcome?.body?.sha256 });
    expect(outcome.headers).toContainEqual(["x-kind", "answer"]);
    expect(textOf(outcome)).toBe("gone");
    await expect(outcomeOf(id)).rejects.toMatchObject({ code: "not_found" });
    expect((await holding.read(id)).hold.outcome).toMatchObject({ status: 200, readable: false });
    expect((await eventsOf(gateway.broker, id)).at(-1)).toBe("outcome.read");
  });

  it.each(["400 Bad Request", "404 Not Found", "500 Internal Server Error", "503 Service Unavailable"])(
    "%s has failed, is kept, and is not sent again",
    async (status) => {
      const { hold, sent } = await fireAt(plain("no", ["Retry-After: 0"], status));
      expect(sent).toBe(1);
      expect(hold).toMatchObject({ state: "failed", outcome: { status: Number(status.slice(0, 3)) } });
      expect(textOf(await outcomeOf(hold.id))).toBe("no");
      gateway.broker.clock.advance(3_600_000);
      expect((await holding.read(hold.id, "oncall-1", 1)).hold.state).toBe("failed");
      expect((await eventsOf(gateway.broker, hold.id)).filter((type) => type === "hold.claimed")).toHaveLength(1);
    },
  );

  it("with a redirect is not followed, and is an answer", async () => {
    const before = gateway.upstream.requests.length;
    const { hold, sent } = await fireAt(
      raw(
        "HTTP/1.1 307 Temporary Redirect",
        `Location: ${gateway.upstream.origin}/things/2`,
        "Content-Length: 0",
        "",
        "",
      ),
    );
    expect(sent).toBe(1);
    expect(gateway.upstream.requests.slice(before)).toEqual(["GET /things/1"]);
    expect(["done", "failed"]).toContain(hold.state);
    expect(hold.outcome).toMatchObject({ status: 307 });
  });

  it.each([true, false])(
    "with more than is kept has answered: its status alone is there (length told: %s)",
    async (told) => {
      let taken = 0;
      const { hold, sent } = await fireAt(huge(64 * 1_048_576, (bytes) => (taken += bytes), told));
      expect(sent).toBe(1);
      expect(hold).toMatchObject({ state: "done", outcome: { status: 200, body: null, readable: false } });
      await expect(outcomeOf(hold.id)).rejects.toMatchObject({ code: "not_found" });
      expect(taken).toBeLessThan(32 * 1_048_576);
    },
  );

  it("with the root key has it blotted out of what is kept and of its headers", async () => {
    const { hold } = await fireAt(plain(`you sent ${ROOT}`, [`X-Echo: ${ROOT}`]));
    const outcome = await outcomeOf(hold.id);
    expect(JSON.stringify([hold, outcome.headers, textOf(outcome)])).not.toContain(ROOT);
    const fired = (await readEvents(gateway.broker)).findLast(({ type }) => type === "hold.fired");
    expect(fired).toMatchObject({ hold: hold.id, scrubbed: expect.any(Number) });
    expect(fired?.["scrubbed"]).toBeGreaterThan(0);
  });

  it("with Set-Cookie and Valetkey- headers has them taken out of what is kept", async () => {
    const { hold } = await fireAt(plain("x", ["Set-Cookie: a=b", "Valetkey-Hold: hld_x", "X-Fine: 1"]));
    const names = (await outcomeOf(hold.id)).headers.map(([name]) => name.toLowerCase());
    expect(names).toContain("x-fine");
    expect(names).not.toContain("set-cookie");
    expect(names.some((name) => name.startsWith("valetkey-"))).toBe(false);
  });
});

describe("an upstream that does not answer", () => {
  it.each([
    ["never", never],
    ["and resets", resets],
  ])("%s: nobody knows, and it is not sent again", async (_what, behaviour) => {
    const { hold, sent } = await fireAt(behaviour);
    expect(sent).toBe(1);
    expect(hold).toMatchObject({ state: "unknown", endedBy: null, outcome: null, missing: [] });
    expect(hold.why).not.toBeNull();
    gateway.behave(plain("late"));
    gateway.broker.clock.advance(3_600_000);
    expect((await holding.read(hold.id, "oncall-1", 1)).hold.state).toBe("unknown");
    expect(await eventsOf(gateway.broker, hold.id)).toEqual([
      "hold.created",
      "hold.approved",
      "hold.claimed",
      "hold.unknown",
    ]);
    await expect(outcomeOf(hold.id)).rejects.toMatchObject({ code: "not_found" });
    const cancel = gateway.broker.as("oncall-1").call("cancelHold", { params: { id: hold.id }, body: {} });
    await expect(cancel).rejects.toMatchObject({ code: "conflict" });
  });

  it.each([
    ["breaks off", resetsMidway],
    ["falls silent", stopsMidway],
  ])("to its end but %s after its status has answered with that status", async (_what, behaviour) => {
    const { hold, sent } = await fireAt(behaviour);
    expect(sent).toBe(1);
    expect(hold).toMatchObject({ state: "done", outcome: { status: 200, body: null, readable: false } });
  });

  it("because it is not there keeps it waiting, and is asked again later", async () => {
    const id = await held();
    const { port } = gateway.upstream;
    await gateway.upstream.close();
    await holding.sign("oncall-1", id);
    await expect
      .poll(async () => (await eventsOf(gateway.broker, id)).at(-1), { timeout: 20_000 })
      .toBe("hold.returned");
    expect((await holding.read(id)).hold).toMatchObject({ state: "ready", approvals: [{ counts: true }] });

    await using again = await openOddUpstream(plain("here"), { port });
    gateway.broker.clock.advance(60_000);
    expect(await holding.ended(id)).toMatchObject({ state: "done" });
    expect(again.requests).toEqual(["GET /things/1"]);
  });
});
