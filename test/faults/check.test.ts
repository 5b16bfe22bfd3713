// The checks of the fault suite find what they are for: each is shown one thing that must not be. A suite that cannot fail
// shows nothing.

import { describe, expect, it } from "vitest";
import { EMPTY_HASH, type Head, placeLeaf } from "../../src/core/leaf.ts";
import { makeId } from "../../src/core/ids.ts";
import { checkRecord } from "./check.ts";
import { checkWatch } from "./check-watch.ts";
import { FAULTS } from "./faults.ts";
import type { Call, Operation } from "./history.ts";
import { PER_MINUTE, USES } from "./policy.ts";

const AT = 1_800_000_000_000;
const random = (n: number): string => String(n).padStart(16, "0");
const grantAt = (ms: number): string => makeId("grt", AT + ms, random(ms));
const holdAt = (ms: number): string => makeId("hld", AT + ms, random(ms));
const credentialAt = (ms: number): string => makeId("crd", AT + ms, random(ms));
const [GRANT, HOLD] = [grantAt(1), holdAt(3)];

type Event = readonly [atMs: number, type: string, fields?: Readonly<Record<string, unknown>>];
const NAMES = { agent: "fault-agent-1", task: "t", role: "fault-caller", upstream: "faults" };
const GIVEN: Event = [1, "grant.issued", { ...NAMES, grant: GRANT, credential: credentialAt(1) }];
const about = { ...NAMES, grant: GRANT };
const called = (ms: number): readonly Event[] => [
  [ms, "call.allowed", { ...about, request: `req ${ms}` }],
  [ms + 1, "call.forwarded", { ...about, request: `req ${ms}` }],
];
const cutOff = (ms: number, target: Readonly<Record<string, string>>, type = "cutoff.created"): Event => {
  const before = new Date(AT + ms).toISOString();
  return [
    ms,
    type,
    {
      target,
      before,
      revocation: makeId("rev", AT + ms, random(ms)),
      reason: `reason ${ms}`,
      ...(type === "agent.frozen" ? { agent: NAMES.agent } : {}),
    },
  ];
};

function linesOf(events: readonly Event[]): readonly string[] {
  let head: Head = { seq: 0, hash: EMPTY_HASH };
  return events.map(([ms, type, fields = {}], i) => {
    const leaf = placeLeaf({ random: random(i), fields: { type, ...fields } }, {}, head, AT + ms);
    head = leaf;
    return leaf.text;
  });
}

interface Told {
  readonly operations?: readonly Operation[];
  readonly calls?: readonly Call[];
  readonly cancelled?: readonly string[];
  readonly received?: Readonly<Record<string, number>>;
}

async function problemsOf(events: readonly Event[], told: Told = {}): Promise<readonly string[]> {
  const { operations = [], calls = [], cancelled = [], received = {} } = told;
  const times = Object.entries(received).map(([body, count]) => [body, Array<number>(count).fill(1)] as const);
  const { violations } = await checkRecord(
    linesOf(events),
    { operations, calls, cancelled: new Set(cancelled) },
    new Map(times),
  );
  // Signatures are checked as well, and these are none.
  return violations.filter((violation) => !violation.startsWith("the approvals:"));
}

const answered = (askedAt: number, answeredAt: number, value: string): Operation => ({
  kind: "mint",
  slot: 0,
  askedAt,
  answeredAt,
  outcome: "ok",
  expected: { types: ["grant.issued", "credential.renewed"], field: "credential", value },
});
const call = (operation: Call["operation"], hold: string | null = null): Call => {
  const answer = { status: hold === null ? 200 : 202, hold };
  return { body: "{}", operation, grant: GRANT, answer };
};

describe("the check of the record", () => {
  it("finds nothing in a record that is as it must be", async () => {
    const events = [GIVEN, ...called(5), cutOff(9, { grant: GRANT })];
    const operations = [answered(0, 2, credentialAt(1))];
    expect(await problemsOf(events, { operations, calls: [call("write")], received: { "{}": 1 } })).toEqual([]);
  });

  it.each<readonly [string, readonly Event[]]>([
    ["a grant of a closed task", [cutOff(0, { task: "t" }), GIVEN]],
    ["a grant of a frozen agent", [cutOff(0, { agent: NAMES.agent }, "agent.frozen"), GIVEN]],
    ["a grant that its own instant has cut off", [cutOff(1, { agent: NAMES.agent }), GIVEN]],
    ["a call after a revocation", [GIVEN, cutOff(3, { grant: GRANT }), ...called(5)]],
    ["a renewal after a revocation", [GIVEN, cutOff(3, { task: "t" }), [5, "credential.renewed", { ...about }]]],
    ["a renewal of what its agent has ended", [GIVEN, [3, "grant.released", about], [5, "credential.renewed", about]]],
    [
      "a claim after a revocation",
      [
        GIVEN,
        [3, "hold.created", { ...about, hold: HOLD }],
        cutOff(4, { grant: GRANT }),
        [5, "hold.claimed", { ...about, hold: HOLD }],
      ],
    ],
    [
      "a claim after a cancel",
      [
        GIVEN,
        [3, "hold.created", { ...about, hold: HOLD }],
        [4, "hold.cancelled", { ...about, hold: HOLD }],
        [5, "hold.claimed", { ...about, hold: HOLD }],
      ],
    ],
    ["an instant that goes back", [GIVEN, ...called(5), [4, "broker.started"]]],
    ["the end of a call that was not open", [GIVEN, [5, "call.forwarded", { ...about, request: "req" }]]],
    [
      "more uses than there are",
      [
        GIVEN,
        ...Array.from({ length: USES + 1 }, (_, i) =>
          called(10 + 2 * i).map(([ms, type, fields]): Event => [ms, type, { ...fields, role: "fault-counted" }]),
        ).flat(),
      ],
    ],
    [
      "more a minute than there may be",
      [
        GIVEN,
        ...Array.from({ length: PER_MINUTE + 1 }, (_, i) =>
          called(10 + 2300 * i).map(([ms, type, fields]): Event => [ms, type, { ...fields, role: "fault-limited" }]),
        ).flat(),
      ],
    ],
  ])("finds %s", async (_, events) => {
    expect(await problemsOf(events)).toHaveLength(1);
  });

  it("finds a broken link", async () => {
    const lines = linesOf([GIVEN, ...called(5)]).toSpliced(1, 1);
    const history = { operations: [], calls: [], cancelled: new Set<string>() };
    expect((await checkRecord(lines, history, new Map())).violations[0]).toContain("the chain");
  });

  it("tells of a call that has no end", async () => {
    const history = { operations: [], calls: [], cancelled: new Set<string>() };
    expect((await checkRecord(linesOf([GIVEN, ...called(5).slice(0, 1)]), history, new Map())).open).toEqual(["req 5"]);
  });

  it("finds an answer that is not on record, and one that is there twice", async () => {
    expect(await problemsOf([GIVEN], { operations: [answered(0, 2, credentialAt(7))] })).toHaveLength(1);
    const renewed: Event = [3, "credential.renewed", { ...about, credential: credentialAt(1) }];
    expect(await problemsOf([GIVEN, renewed], { operations: [answered(0, 2, credentialAt(1))] })).toHaveLength(1);
  });

  it("finds an answer that stands after what was asked later", async () => {
    const renewed: Event = [3, "credential.renewed", { ...about, credential: credentialAt(3) }];
    const operations = [answered(0, 2, credentialAt(3)), answered(3, 4, credentialAt(1))];
    expect(await problemsOf([GIVEN, renewed], { operations })).toHaveLength(1);
  });

  const sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
  const held: Event = [3, "hold.created", { ...about, hold: HOLD, document: { subject: { body: { sha256 } } } }];
  const on = (ms: number, type: string): Event => [ms, type, { ...about, hold: HOLD }];
  it.each<readonly [string, readonly Event[], Told]>([
    [
      "a call that arrived twice",
      [GIVEN, ...called(5), ...called(7)],
      { calls: [call("write")], received: { "{}": 2 } },
    ],
    ["a call that arrived and is not on record", [GIVEN], { calls: [call("write")], received: { "{}": 1 } }],
    ["a call that was answered and never arrived", [GIVEN, ...called(5)], { calls: [call("write")] }],
    ["a call that nobody made", [GIVEN], { received: { "{}": 1 } }],
    [
      "a held call that was not claimed",
      [GIVEN, held, on(4, "hold.approved")],
      { calls: [call("again", HOLD)], received: { "{}": 1 } },
    ],
    [
      "a held call that nobody approved",
      [GIVEN, held, on(4, "hold.claimed")],
      { calls: [call("once", HOLD)], received: { "{}": 1 } },
    ],
    [
      "a held call that was sent twice",
      [GIVEN, held, on(4, "hold.approved"), on(5, "hold.claimed"), on(6, "hold.claimed")],
      { calls: [call("once", HOLD)], received: { "{}": 2 } },
    ],
    [
      "a held call that was stopped and arrived",
      [GIVEN, held, on(4, "hold.approved"), on(5, "hold.claimed")],
      { calls: [call("again", HOLD)], received: { "{}": 1 }, cancelled: [HOLD] },
    ],
    [
      "a held call that is done and never arrived",
      [GIVEN, held, on(4, "hold.claimed"), on(5, "hold.fired")],
      { calls: [call("once", HOLD)] },
    ],
    ["a held call whose hold is not on record", [GIVEN], { calls: [call("once", HOLD)] }],
  ])("finds %s", async (_, events, told) => {
    expect(await problemsOf(events, told)).toHaveLength(1);
  });
});

describe("the check of what was seen", () => {
  const nothing = { looks: [], late: [], stalledMs: () => 0 };
  const made = { fault: FAULTS.fillRedis, slots: [0], begunAt: 100_000, mendingAt: 106_000, mendedAt: 106_100 };
  const worked: Operation = {
    kind: "mint",
    slot: 0,
    askedAt: 107_000,
    answeredAt: 107_010,
    outcome: "ok",
    expected: null,
  };
  const ready = { slot: 0, status: 200, problems: [] };
  const looks = [{ ...ready, askedAt: 107_000, answeredAt: 107_001 }];
  const seen = (watch: Partial<Parameters<typeof checkWatch>[0]>, operations = [worked], endedAt = 200_000) =>
    checkWatch({ ...nothing, looks, ...watch }, [made], operations, endedAt).violations;

  it("finds nothing where all is as it must be", () => {
    const unready = { slot: 0, askedAt: 104_000, answeredAt: 104_001, status: 503, problems: ["full"] };
    expect(seen({ looks: [unready, ...looks] })).toEqual([]);
  });

  it("finds a broker that calls itself ready while it can do nothing, or says no reason, or never is again", () => {
    const during = { slot: 0, askedAt: 104_000, answeredAt: 104_001, problems: [] };
    expect(seen({ looks: [{ ...during, status: 200 }, ...looks] })).toHaveLength(1);
    expect(seen({ looks: [{ ...during, status: 503 }, ...looks] })).toHaveLength(1);
    expect(seen({ looks: [] })).toHaveLength(1);
  });

  it("finds a broker that does nothing any more, and gives one the time that it has", () => {
    expect(seen({}, [])).toHaveLength(1);
    expect(seen({}, [], 110_000)).toEqual([]);
  });

  it("finds what a verifier accepted too late, and allows more while something was wrong", () => {
    const late = { slot: 0, grant: GRANT, revokedAt: 50_000, acceptedAt: 50_300 };
    expect(seen({ late: [late] })).toHaveLength(1);
    expect(seen({ late: [late], stalledMs: () => 60 })).toEqual([]);
    expect(seen({ late: [{ ...late, revokedAt: 101_000, acceptedAt: 106_000 }] })).toEqual([]);
    expect(seen({ late: [{ ...late, revokedAt: 101_000, acceptedAt: 107_000 }] })).toHaveLength(1);
  });
});
