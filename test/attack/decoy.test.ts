// Who presents a decoy is noticed, and nobody can turn that against another: no decoy freezes an agent that proved
// nothing, fills the record, or comes out anywhere again (semantics, rule 17).

import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CANARY_KINDS, type CanaryKind } from "../../src/api/secrets.ts";
import { makeProblem } from "../../src/http/problem.ts";
import { newId } from "../../src/core/ids.ts";
import { POLICY, T0 } from "../contract/drafts.ts";
import { openAlarms } from "../support/open-alarms.ts";
import { openDecoys } from "../support/opened-decoys.ts";

const ROUTE = "POST /v1/grants";
let opened: Awaited<ReturnType<typeof openAlarms>>;
let planted: Awaited<ReturnType<typeof openDecoys>>;

beforeEach(async () => {
  opened = await openAlarms();
  planted = await openDecoys();
});
afterEach(() => opened.close());

async function present(text: string, agent: string | null, { alarms } = opened) {
  const found = planted.decoys.find([["authorization", text]]);
  if (found === null) throw new Error("the decoy was not found");
  const request = newId("req", opened.time.wall);
  return { request, found, error: await alarms.decoyPresented(found, agent, ROUTE, request) };
}

describe("a decoy", () => {
  it.each(CANARY_KINDS)("like %s, with an agent's own proof, freezes that agent and is on record", async (like) => {
    const { key, canary } = await planted.plant(like);
    const { request, error } = await present(`Bearer ${key}`, "coder");
    expect(await opened.frozen()).toEqual(["coder"]);
    expect(await opened.events("agent.struck", "decoy.presented")).toMatchObject([
      {
        type: "agent.struck",
        agent: "coder",
        target: { agent: "coder" },
        reason: `presented the decoy ${canary.id}`,
        requests: [request],
      },
      {
        type: "decoy.presented",
        canary: canary.id,
        like,
        where: "authorization",
        agent: "coder",
        route: ROUTE,
        request,
        policy: POLICY,
      },
    ]);
    expect(opened.published).toMatchObject([{ kind: "cut_off", cutOff: { target: { agent: "coder" } } }]);
    expect(error).toMatchObject({ code: "decoy_presented", status: 403, reasons: [] });
    expect(error.detail).toBe("this is a decoy: security has been told");
  });

  it("without proof alerts all the same, and freezes nobody", async () => {
    const { key, canary } = await planted.plant("github");
    await present(key, null);
    expect(await opened.frozen()).toEqual([]);
    expect(opened.published).toEqual([]);
    expect(await opened.events("decoy.presented")).toMatchObject([{ canary: canary.id, agent: null }]);
    expect(opened.log).toEqual([expect.stringMatching(new RegExp(`^warn .*${canary.id} .*by nobody known$`))]);
  });

  it("presented over and over is one event and one warning a minute; the rest is counted", async () => {
    const { key } = await planted.plant("railway");
    await Promise.all(Array.from({ length: 50 }, () => present(key, null)));
    expect(await opened.events("decoy.presented")).toHaveLength(1);
    expect(opened.log).toHaveLength(1);
    expect(opened.counts).toEqual(Array.from({ length: 49 }, () => "decoy_presented"));
    opened.advance(59_999);
    await present(key, null);
    expect(await opened.events("decoy.presented")).toHaveLength(1);
    opened.advance(1);
    await present(key, null);
    expect(await opened.events("decoy.presented")).toHaveLength(2);
  });

  it("presented by nobody first hides neither the agent nor another decoy that come later", async () => {
    const [one, two] = [await planted.plant("github"), await planted.plant("github")];
    await present(one.key, null);
    await present(one.key, "coder");
    await present(two.key, null);
    expect(await opened.frozen()).toEqual(["coder"]);
    expect((await opened.events("decoy.presented")).map(({ canary, agent }) => [canary, agent])).toEqual([
      [one.canary.id, null],
      [one.canary.id, "coder"],
      [two.canary.id, null],
    ]);
  });

  it("freezes again whoever presents it after the freeze was lifted, also within the minute", async () => {
    const { key } = await planted.plant("stripe");
    await present(key, "coder");
    await present(key, "coder");
    expect(await opened.events("agent.struck")).toHaveLength(1);
    await opened.unfreeze("coder");
    await present(key, "coder");
    expect(await opened.frozen()).toEqual(["coder"]);
    expect(await opened.events("agent.struck")).toHaveLength(2);
    expect(await opened.events("decoy.presented")).toHaveLength(1);
  });

  it("freezes while the clocks have parted", async () => {
    const { key } = await planted.plant("github");
    opened.time.wall += 3_600_000;
    await present(key, "coder");
    expect(await opened.frozen()).toEqual(["coder"]);
    expect(opened.published).toMatchObject([{ cutOff: { before: T0 } }]);
  });
});

describe("an alarm that the store does not take", () => {
  it.each([
    ["freeze", "freezing coder"],
    ["append", "recording that the decoy"],
  ] as const)("at %s is logged, still refuses, does the rest, and is tried again", async (method, what) => {
    let fails = true;
    const failing = await openAlarms((port) => ({
      ...port,
      [method]: (command: never) => (fails ? Promise.reject(new Error("disk")) : port[method](command)),
    }));
    const { key } = await planted.plant("github");
    const { error } = await present(key, "coder", failing);
    expect(error.code).toBe("decoy_presented");
    expect(failing.log).toContainEqual(expect.stringMatching(new RegExp(`^error ${what}.* failed`)));
    expect(await failing.frozen()).toEqual(method === "freeze" ? [] : ["coder"]);
    expect(await failing.events("decoy.presented")).toHaveLength(method === "append" ? 0 : 1);
    fails = false;
    await present(key, "coder", failing);
    expect(await failing.frozen()).toEqual(["coder"]);
    expect(await failing.events("decoy.presented")).toHaveLength(1);
    await failing.close();
  });
});

describe("the value of a decoy", () => {
  const marksOf = (like: CanaryKind, value: string): readonly string[] =>
    like === "aws" ? value.split("\n").map((line) => line.split(" = ")[1] ?? "") : [value];

  it.each(CANARY_KINDS)("like %s comes out once, and then nowhere", async (like) => {
    const { key, value, canary } = await planted.plant(like, "shop/.env");
    const { error, found, request } = await present(key, "coder");
    // A header may be called like a key.
    const odd = planted.decoys.find([[key, key]]);
    const seen = inspect(
      [
        canary,
        found,
        odd,
        error,
        makeProblem(error, request),
        planted.decoys,
        planted.decoys.list(),
        await planted.port.canaries(),
        await opened.port.read(0, 1000),
        opened.log,
        opened.published,
      ],
      { depth: Infinity, showHidden: true, maxStringLength: null, maxArrayLength: null },
    );
    expect(seen).toContain(canary.id);
    for (const mark of marksOf(like, value)) {
      expect(mark.length).toBeGreaterThanOrEqual(20);
      for (const form of [mark, mark.toUpperCase(), Buffer.from(mark).toString("hex")])
        expect(seen).not.toContain(form);
    }
  });
});
