// Canonical JSON by the examples of RFC 8785, leaves of the record, cut-offs, the guarded clock and secrets.

import { createHash } from "node:crypto";
import { format, inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { canonicalJson, digestOf } from "../../src/core/canonical-json.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { type CutOff, type CutOffSubject, type CutOffTarget, findCutOff, targets } from "../../src/core/cutoff.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { makeId } from "../../src/core/ids.ts";
import { EMPTY_HASH, hashLeaf, MAX_LEAF_BYTES, placeLeaf } from "../../src/core/leaf.ts";
import { Secret } from "../../src/core/secret.ts";

describe("canonical JSON", () => {
  it("orders keys by UTF-16 code units (RFC 8785 section 3.2.3)", () => {
    const value = {
      "\u20ac": "Euro",
      "\r": "CR",
      "\ufb33": "Dalet",
      "1": "One",
      "\ud83d\ude00": "Smile",
      "\u0080": "Control",
      "\u00f6": "o",
    };
    const values: unknown = JSON.parse(canonicalJson(value));
    expect(values).toEqual(value);
    expect([...canonicalJson(value).matchAll(/:"(\w+)"/g)].map(([, name]) => name)).toEqual([
      "CR",
      "One",
      "Control",
      "o",
      "Euro",
      "Smile",
      "Dalet",
    ]);
  });

  it("writes numbers and strings as section 3.2.2 does", () => {
    expect(canonicalJson([Number("333333333.33333329"), 1e30, 4.5, 2e-3, 0.000000000000000000000000001, -0])).toBe(
      "[333333333.3333333,1e+30,4.5,0.002,1e-27,0]",
    );
    expect(canonicalJson('\u20ac$\u000F\nA\'B"\\"/')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\"/"');
    expect(canonicalJson({ literals: [null, true, false] })).toBe('{"literals":[null,true,false]}');
  });

  it.each([
    ["NaN", Number.NaN],
    ["infinity", { a: Number.POSITIVE_INFINITY }],
    ["half a surrogate pair", "\ud800"],
    ["half a surrogate pair in a key", { "\udc00": 1 }],
    ["a big integer", 1n],
    ["nothing", undefined],
  ])("has no form for %s", (_what, value) => {
    expect(() => canonicalJson(value)).toThrow(Error);
  });

  it("keeps a __proto__ member as a member", () => {
    const value: unknown = JSON.parse('{"a":2,"__proto__":{"x":1}}');
    expect(canonicalJson(value)).toBe('{"__proto__":{"x":1},"a":2}');
  });

  it("is hashed as UTF-8", () => {
    expect(digestOf({ b: "ö", a: 1 })).toBe(
      createHash("sha256").update(Buffer.from('{"a":1,"b":"ö"}', "utf8")).digest("hex"),
    );
  });
});

describe("a leaf", () => {
  const random = "0123456789ABCDEF";
  const draft = (fields: Record<string, unknown> = {}) => ({ random, fields: { type: "broker.stopped", ...fields } });

  it("names its position, its time and the hash of the one before, and is hashed as an RFC 6962 leaf", () => {
    const first = placeLeaf(draft(), {}, { seq: 0, hash: EMPTY_HASH }, 1000);
    const second = placeLeaf(draft(), {}, first, 2000);
    expect(JSON.parse(second.text)).toEqual({
      type: "broker.stopped",
      id: makeId("evt", 2000, random),
      seq: 2,
      time: toTimestamp(2000),
      previous: first.hash,
    });
    expect(JSON.parse(first.text)).toMatchObject({ seq: 1, previous: createHash("sha256").digest("hex") });
    expect(second.hash).toBe(
      createHash("sha256")
        .update(Buffer.concat([Buffer.of(0), Buffer.from(second.text)]))
        .digest("hex"),
    );
    expect(hashLeaf(second.text)).toBe(second.hash);
    expect(second.text).toBe(canonicalJson(JSON.parse(second.text)));
  });

  it("takes its place from the store, whatever the draft or the ids say", () => {
    const forged = { id: "evt_x", seq: "99", time: "x", previous: "x" };
    const leaf = placeLeaf(draft(forged), forged, { seq: 0, hash: EMPTY_HASH }, 1000);
    expect(JSON.parse(leaf.text)).toMatchObject({ seq: 1, previous: EMPTY_HASH, time: toTimestamp(1000) });
  });

  it("has at most 65,535 bytes of UTF-8; one more is refused, never cut", () => {
    const head = { seq: 0, hash: EMPTY_HASH };
    const room = MAX_LEAF_BYTES - Buffer.byteLength(placeLeaf(draft({ pad: "" }), {}, head, 1000).text);
    expect(Buffer.byteLength(placeLeaf(draft({ pad: "x".repeat(room) }), {}, head, 1000).text)).toBe(65_535);
    expect(() => placeLeaf(draft({ pad: "x".repeat(room + 1) }), {}, head, 1000)).toThrow(RangeError);
    expect(() => placeLeaf(draft({ pad: "ö".repeat(room / 2 + 1) }), {}, head, 1000)).toThrow(RangeError);
  });
});

describe("a cut-off", () => {
  const own = makeId("grt", 1000, "0".repeat(16));
  const parent = makeId("grt", 900, "1".repeat(16));
  const subject: CutOffSubject = {
    grants: [parent, own],
    agents: ["lead", "coder"],
    task: "T-1",
    role: "editor",
    environments: ["staging", "production"],
    upstream: "shop",
  };
  const cutOff = (target: CutOffTarget, before: number): CutOff => ({
    id: makeId("rev", before, "0".repeat(16)),
    number: 1,
    target,
    before,
  });

  it.each<[string, CutOffTarget]>([
    ["its grant", { grant: own }],
    ["a parent grant", { grant: parent }],
    ["an agent of the chain", { agent: "lead" }],
    ["its agent", { agent: "coder" }],
    ["its task", { task: "T-1" }],
    ["its role", { role: "editor" }],
    ["any of its environments", { environment: "production" }],
    ["its upstream", { upstream: "shop" }],
    ["everything", { everything: true }],
    ["its role and agent together", { role: "editor", agent: "coder" }],
  ])("that names %s voids it", (_what, target) => {
    expect(targets(target, subject)).toBe(true);
    expect(findCutOff([cutOff(target, 1000)], subject)).not.toBeNull();
  });

  it.each<[string, CutOffTarget]>([
    ["another grant", { grant: makeId("grt", 1000, "2".repeat(16)) }],
    ["another agent", { agent: "code" }],
    ["a task that begins alike", { task: "T-11" }],
    ["another role", { role: "editors" }],
    ["another environment", { environment: "prod" }],
    ["another upstream", { upstream: "shop-2" }],
    ["its role and another agent", { role: "editor", agent: "other" }],
    ["its agent and another role", { agent: "coder", role: "reader" }],
  ])("that names %s does not", (_what, target) => {
    expect(findCutOff([cutOff(target, 9999)], subject)).toBeNull();
  });

  it("voids what was issued at its very instant, and nothing after it", () => {
    expect(findCutOff([cutOff({ everything: true }, 999)], subject)).toBeNull();
    expect(findCutOff([cutOff({ everything: true }, 1000)], subject)).not.toBeNull();
  });

  it("without a target voids nothing, not even when its fields are there and undefined", () => {
    expect(targets({}, subject)).toBe(false);
    expect(targets({ agent: undefined, everything: undefined }, subject)).toBe(false);
  });

  it("whose target a later version names by an unknown field, or in another form, voids more, never less", () => {
    const later = (target: Record<string, unknown>): boolean => targets({ ...target }, subject);
    expect(later({ tenant: "acme" })).toBe(true);
    expect(later({ agent: "coder", tenant: "acme" })).toBe(true);
    expect(later({ agent: "other", tenant: "acme" })).toBe(false);
    expect(later({ agent: ["coder", "other"] })).toBe(true);
    expect(later({ task: null })).toBe(true);
  });

  it("is compared with the grant's own instant, not a parent's, and a subject without a chain is an error", () => {
    expect(findCutOff([cutOff({ everything: true }, 950)], subject)).toBeNull();
    expect(() => findCutOff([], { ...subject, grants: [] })).toThrow(RangeError);
  });
});

describe("the guarded clock", () => {
  const make = () => {
    const time = { wall: 1_000_000, steady: 5000 };
    const clock = createGuardedClock({ now: () => time.wall, monotonic: () => time.steady });
    const pass = (ms: number) => {
      time.wall += ms;
      time.steady += ms;
    };
    return { time, clock, pass };
  };

  it("tells wall time while both clocks go together", () => {
    const { clock, pass } = make();
    pass(3_600_000);
    expect(clock.hasParted()).toBe(false);
    expect(clock.at()).toBe(4_600_000);
  });

  it.each([30_000, -30_000])("follows a wall clock that was set by %i ms", (by) => {
    const { clock, time } = make();
    time.wall += by;
    expect(clock.hasParted()).toBe(false);
    expect(clock.at()).toBe(time.wall);
  });

  it.each([30_001, -30_001, 86_400_000, -86_400_000])(
    "parts from one that jumped by %i ms, and stays steady until a person acknowledges it",
    (by) => {
      const { clock, time, pass } = make();
      time.wall += by;
      expect(clock.hasParted()).toBe(true);
      expect(clock.at()).toBe(1_000_000);
      pass(10_000);
      expect(clock.hasParted()).toBe(true);
      expect(clock.at()).toBe(1_010_000);
      clock.acknowledge();
      expect(clock.hasParted()).toBe(false);
      expect(clock.at()).toBe(time.wall);
    },
  );

  it("adds small jumps up", () => {
    const { clock, time } = make();
    for (let i = 0; i < 3; i++) time.wall += 20_000;
    expect(clock.hasParted()).toBe(true);
  });

  it("is whole again when the wall clock jumps back to where it was", () => {
    const { clock, time } = make();
    time.wall += 60_000;
    time.wall -= 60_000;
    expect(clock.hasParted()).toBe(false);
  });
});

describe("a secret", () => {
  const MARK = "c0ffee-marker";
  const secret = new Secret({ value: MARK });
  const bytes = new Secret(Buffer.from(MARK));

  it.each<[string, (one: Secret<object>) => string]>([
    ["JSON", (one) => JSON.stringify({ one, list: [one] })],
    ["canonical JSON", (one) => canonicalJson({ one })],
    ["String()", (one) => String(one)],
    ["its own text", (one) => one.toString()],
    ["a template", (one) => `the key is ${String(one)}`],
    ["inspection", (one) => inspect(one, { showHidden: true, depth: null, getters: true })],
    [
      "inspection without its own method",
      (one) => inspect(one, { customInspect: false, showHidden: true, depth: null }),
    ],
    ["inspection from inside", (one) => inspect({ deep: [new Map([["k", one]])] }, { depth: null })],
    ["formatting", (one) => format("%s %j %o %O %d", one, one, one, one, one)],
    ["spreading", (one) => JSON.stringify(Object.assign({}, one))],
    [
      "its keys",
      (one) => JSON.stringify([Object.entries(one), Reflect.ownKeys(one).map(String), Object.getOwnPropertyNames(one)]),
    ],
    ["a clone", (one) => inspect(structuredClone({ one }))],
    ["an error", (one) => inspect(new Error("failed", { cause: one }))],
  ])("does not show in %s", (_what, show) => {
    for (const one of [secret, bytes]) {
      const text = show(one);
      expect(text).not.toContain(MARK);
      expect(text).not.toContain(Buffer.from(MARK).toString("hex"));
      expect(text).not.toContain(`${Buffer.from(MARK)[0]},`);
    }
  });

  it("does not survive a structured clone", () => {
    const clone: unknown = structuredClone(secret);
    expect(inspect(clone, { showHidden: true })).not.toContain(MARK);
  });

  it("is given by reveal alone, and two of the same value are not equal", () => {
    expect(secret.reveal()).toEqual({ value: MARK });
    expect(new Secret(Buffer.from("a")) === new Secret(Buffer.from("a"))).toBe(false);
  });
});
