// Strikes: which refusals count, within which window, against whom, and what they end (semantics, rule 16).

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERRORS, type ErrorCode } from "../../src/core/errors.ts";
import { newId, type RequestId } from "../../src/core/ids.ts";
import { createStrikes } from "../../src/revocation/strikes.ts";
import { grantFrom, POLICY, renew, T0 } from "../contract/drafts.ts";
import { openAlarms } from "../support/open-alarms.ts";

const ALWAYS: readonly ErrorCode[] = [
  "environment_mismatch",
  "resource_unknown",
  "operation_unlisted",
  "no_role",
  "role_does_not_permit",
  "permission_missing",
  "crossing_not_allowed",
  "power_missing",
];
const GATEWAY: readonly ErrorCode[] = ["malformed_request", "path_not_canonical", "too_large"];
// The table's own keys.
const CODES = Object.keys(ERRORS) as ErrorCode[];

describe("a window of strikes", () => {
  const make = (refusals: number, windowSeconds: number) => {
    const time = { now: 0 };
    const settings = { refusals, windowSeconds };
    const strikes = createStrikes({ clock: { monotonic: () => time.now }, settings: () => settings });
    return { time, settings, strikes };
  };
  const request = (i = 0): RequestId => newId("req", i);

  it("names the refusals that led to it, and then begins anew", () => {
    const { strikes } = make(3, 60);
    const [a, b, c] = [request(1), request(2), request(3)];
    expect([a, b, c].map((each) => strikes.strike("coder", each))).toEqual([null, null, [a, b, c]]);
    expect([a, b, c].map((each) => strikes.strike("coder", each))).toEqual([null, null, [a, b, c]]);
  });

  it("slides: it is full exactly where a naive count over all refusals says so", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(
          fc.tuple(
            fc.constantFrom("a", "b"),
            fc.nat(16).map((halves) => halves * 500),
          ),
          { maxLength: 60 },
        ),
        (refusals, windowSeconds, steps) => {
          const { time, strikes } = make(refusals, windowSeconds);
          let all: { key: string; at: number; id: RequestId }[] = [];
          for (const [key, ms] of steps) {
            time.now += ms;
            const id = request();
            all.push({ key, at: time.now, id });
            const recent = all.filter((each) => each.key === key && each.at > time.now - windowSeconds * 1000);
            const isFull = recent.length >= refusals;
            expect(strikes.strike(key, id)).toEqual(isFull ? recent.map((each) => each.id) : null);
            if (isFull) all = all.filter((each) => each.key !== key);
          }
        },
      ),
    );
  });

  it("follows the settings of the policy in force", () => {
    const { strikes, settings } = make(5, 60);
    strikes.strike("coder", request());
    settings.refusals = 2;
    expect(strikes.strike("coder", request())).toHaveLength(2);
  });

  it("remembers 10,000 keys, and forgets first those that were struck longest ago", () => {
    const { strikes } = make(2, 60);
    strikes.strike("old", request());
    strikes.strike("kept", request());
    for (let i = 0; i < 9998; i++) strikes.strike(`key ${i}`, request());
    expect(strikes.strike("kept", request())).toHaveLength(2);
    strikes.strike("one more", request());
    strikes.strike("and another", request());
    expect(strikes.strike("old", request())).toBeNull();
  });
});

describe("refusals", () => {
  let opened: Awaited<ReturnType<typeof openAlarms>>;
  beforeEach(async () => void (opened = await openAlarms()));
  afterEach(() => opened.close());

  it("strike as the table of rule 16 says, whatever their code", async () => {
    // One store for all: each code has an agent of its own, and a grant.
    for (const code of CODES) {
      const agent = code.replaceAll("_", "-");
      const grant = newId("grt", T0);
      for (let i = 0; i < 3; i++) {
        await opened.refuse(code, { agent });
        await opened.refuse(code, { agent, grant });
      }
    }
    const struck = async (type: string) =>
      (await opened.events(type)).map(({ agent }) => String(agent).replaceAll("-", "_"));
    expect((await struck("agent.struck")).toSorted()).toEqual(ALWAYS.toSorted());
    expect((await struck("grant.struck")).toSorted()).toEqual([...ALWAYS, ...GATEWAY].toSorted());
  });

  it("proven by the agent's own key freeze the agent, with the calls that led to it on record and told to verifiers", async () => {
    const grant = await grantFrom(opened.port, T0);
    const requests = [await opened.refuse("no_role"), await opened.refuse("resource_unknown")];
    expect(await opened.frozen()).toEqual([]);
    requests.push(await opened.refuse("no_role"));
    expect(await opened.frozen()).toEqual(["coder"]);
    expect((await renew(opened.port, T0, grant)).outcome).not.toBe("renewed");
    const reason = "3 refusals within a short time";
    const facts = { agent: "coder", target: { agent: "coder" }, reason, requests, policy: POLICY };
    expect(await opened.events("agent.struck")).toMatchObject([facts]);
    expect(opened.published).toMatchObject([
      { kind: "cut_off", cutOff: { target: { agent: "coder" }, by: "broker", reason } },
    ]);
    expect(opened.log).toEqual([`warn coder is frozen: ${reason}`]);
  });

  it("of a bearer end that grant, and neither its agent nor its other grants", async () => {
    const [one, two] = [await grantFrom(opened.port, T0), await grantFrom(opened.port, T0)];
    const requests: RequestId[] = [];
    for (let i = 0; i < 3; i++) requests.push(await opened.refuse("operation_unlisted", { grant: one.id }));
    expect(await opened.frozen()).toEqual([]);
    expect((await renew(opened.port, T0, one)).outcome).not.toBe("renewed");
    expect((await renew(opened.port, T0, two)).outcome).toBe("renewed");
    expect(await opened.events("grant.struck", "agent.struck")).toMatchObject([
      { type: "grant.struck", agent: "coder", target: { grant: one.id }, requests },
    ]);
    expect(opened.published).toMatchObject([{ kind: "cut_off", cutOff: { target: { grant: one.id } } }]);
  });

  it("of a bearer never add up with those that the agent's key proved", async () => {
    const grant = newId("grt", T0);
    for (const by of [grant, null, newId("grt", T0), null, grant]) await opened.refuse("no_role", { grant: by });
    expect(await opened.frozen()).toEqual([]);
    expect(await opened.events("grant.struck")).toEqual([]);
  });

  it("of one agent strike no other", async () => {
    for (const agent of ["coder", "other-agent", "coder", "other-agent"]) await opened.refuse("no_role", { agent });
    expect(await opened.frozen()).toEqual([]);
  });

  it("that go on after the freeze add no event, until a person has lifted it", async () => {
    for (let i = 0; i < 12; i++) await opened.refuse("power_missing");
    expect(await opened.events("agent.struck")).toHaveLength(1);
    expect(await opened.unfreeze("coder")).toBe(true);
    expect(await opened.frozen()).toEqual([]);
    for (let i = 0; i < 3; i++) await opened.refuse("power_missing");
    expect(await opened.events("agent.struck")).toHaveLength(2);
    expect(await opened.frozen()).toEqual(["coder"]);
  });

  it("of a grant that has ended end it once", async () => {
    const grant = newId("grt", T0);
    for (let i = 0; i < 12; i++) await opened.refuse("operation_unlisted", { grant });
    expect(await opened.events("grant.struck")).toHaveLength(1);
  });

  it("freeze also while the clocks have parted, at the steady one's instant", async () => {
    opened.time.wall += 3_600_000;
    expect(opened.clock.hasParted()).toBe(true);
    for (let i = 0; i < 3; i++) await opened.refuse("no_role");
    expect(await opened.frozen()).toEqual(["coder"]);
    expect(opened.published).toMatchObject([{ cutOff: { before: T0 } }]);
  });

  it("are counted by the steady clock: setting the wall clock hides none", async () => {
    await opened.refuse("no_role");
    opened.time.wall += 7_200_000;
    await opened.refuse("no_role");
    opened.time.wall -= 14_400_000;
    await opened.refuse("no_role");
    expect(await opened.frozen()).toEqual(["coder"]);
  });

  it("at once freeze once", async () => {
    await Promise.all(Array.from({ length: 9 }, () => opened.refuse("no_role")));
    expect(await opened.events("agent.struck")).toHaveLength(1);
  });

  it("name at most their last 100 requests in the event", async () => {
    opened.settings.refusals = 2000;
    const requests: RequestId[] = [];
    for (let i = 0; i < 2000; i++) requests.push(await opened.refuse("no_role"));
    expect(await opened.events("agent.struck")).toMatchObject([{ requests: requests.slice(-100) }]);
  });
});

describe("a strike that the store does not take", () => {
  it("is logged, throws nothing, and is tried again", async () => {
    let fails = true;
    const opened = await openAlarms((port) => ({
      ...port,
      freeze: (command) => (fails ? Promise.reject(new Error("disk")) : port.freeze(command)),
    }));
    for (let i = 0; i < 3; i++) await opened.refuse("no_role");
    expect(opened.log.at(-1)).toMatch(/^error freezing coder failed/);
    fails = false;
    for (let i = 0; i < 3; i++) await opened.refuse("no_role");
    expect(await opened.frozen()).toEqual(["coder"]);
    await opened.close();
  });
});
