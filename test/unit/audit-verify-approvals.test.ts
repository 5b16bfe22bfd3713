// What the offline check of approvals finds, entry by entry, in records that are linked soundly and say what is not so.

import { describe, expect, it } from "vitest";
import { verifyApprovals } from "../../src/audit/verify-approvals.ts";
import type { Hours } from "../../src/core/hold-document.ts";
import {
  HOUR,
  isTheirs,
  keyOf,
  type MadeHold,
  type MadeRecord,
  NOTHING,
  problemsOf,
  rewrite,
  SECOND,
  startRecord,
  TWO_TEAMS,
} from "../support/made-approvals.ts";

const BOTH = { approvals: ["dba-1", "sec-1"] };
const DELAYED = { ...TWO_TEAMS, delaySeconds: 3600 };

/** Two teams sign within a minute. */
function signed(requires = TWO_TEAMS, kind: "call" | "grant" = "call") {
  const record = startRecord();
  const hold = record.hold(requires, { kind });
  hold.sign("dba-1", 30 * SECOND);
  hold.sign("sec-1", 60 * SECOND);
  return { record, hold };
}

/** The one problem of a record of one hold, without the id; several are joined. */
async function faultOf(write: (hold: MadeHold) => void, requires = TWO_TEAMS): Promise<string> {
  const record = startRecord();
  write(record.hold(requires));
  return (await problemsOf(record.lines)).map((text) => text.replace(/ of hld_\w+/, "")).join("; ");
}

/** The first entry of a hold, to be put elsewhere. */
function createdFields(elsewhere: MadeRecord) {
  elsewhere.hold(TWO_TEAMS);
  // Made just before.
  const entry = JSON.parse(elsewhere.lines[0] ?? "") as Record<string, unknown>;
  const { seq: _seq, time: _time, previous: _previous, id: _id, ...fields } = entry;
  return { ...fields, type: "hold.created" };
}

describe("a sound record", () => {
  it("has no problems, and its signatures and firings are counted", async () => {
    const { record, hold } = signed();
    hold.fire("hold.claimed", 61 * SECOND, BOTH);
    hold.next("hold.fired", 62 * SECOND, { outcome: "done" });
    const denied = record.hold(TWO_TEAMS, { at: 70 * SECOND });
    denied.sign("dba-2", 80 * SECOND, { decision: "deny" });
    const { approvals } = await verifyApprovals(record.lines, { checkpoints: [], isRegistered: isTheirs });
    expect(approvals).toEqual({ holds: 2, signatures: 3, firings: 1, problems: [] });
  });

  it("has grants that become active without a claim", async () => {
    const { record, hold } = signed(TWO_TEAMS, "grant");
    hold.fire("hold.fired", 61 * SECOND, BOTH);
    expect(await problemsOf(record.lines)).toEqual([]);
  });

  it("has calls that are claimed again after they were returned", async () => {
    const { record, hold } = signed();
    for (const after of [61, 63, 65]) {
      hold.fire("hold.claimed", after * SECOND, BOTH);
      hold.next("hold.returned", (after + 1) * SECOND, { cause: "away" });
    }
    hold.fire("hold.claimed", 70 * SECOND, BOTH);
    hold.next("hold.unknown", 71 * SECOND, { cause: "stopped" });
    expect(await problemsOf(record.lines)).toEqual([]);
  });
});

describe("a hold", () => {
  it("is created with the digest of its document", async () => {
    const record = startRecord();
    record.hold(TWO_TEAMS, { fields: { digest: "0".repeat(64) } });
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("its digest is not that of its document")]);
  });

  it("says of itself what its document says", async () => {
    const record = startRecord();
    record.hold(TWO_TEAMS, { fields: { task: "another" } });
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("not what its document says")]);
  });

  it("says of itself the same in every later entry", async () => {
    expect(await faultOf((hold) => hold.next("hold.cancelled", SECOND, { role: "another" }))).toBe(
      "2: hold.cancelled: what it says of the hold is not what was requested",
    );
  });

  it("demands something", async () => {
    const record = startRecord();
    record.hold([]);
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("demands nothing")]);
  });

  it.each([
    ["is not created before its own id", -SECOND],
    ["is not created with an id from long before", 301 * SECOND],
  ])("%s", async (_rule, after) => {
    const record = startRecord();
    record.append(createdFields(startRecord()), after);
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("does not carry the time of its request")]);
  });

  it("is not created twice, not after it has ended either", async () => {
    const record = startRecord();
    const fields = createdFields(startRecord());
    record.append(fields, 0);
    record.append({ ...fields, type: "hold.cancelled" }, SECOND);
    record.append(fields, 2 * SECOND);
    expect(await problemsOf(record.lines)).toEqual([expect.stringMatching(/^3: .*of this id is on record before/)]);
  });
});

describe("a signature", () => {
  const cases: readonly (readonly [string, (hold: MadeHold) => void, string])[] = [
    [
      "is by the key that is recorded with it",
      (hold) => hold.sign("dba-1", SECOND, { fields: { key: keyOf("dba-2").publicJwk } }),
      "not by the key",
    ],
    [
      "is over this digest",
      (hold) => hold.sign("dba-1", SECOND, { claims: { digest: "0".repeat(64) } }),
      "another request",
    ],
    [
      "is over this hold",
      (hold) => hold.sign("dba-1", SECOND, { claims: { hold: `hld_${"0".repeat(26)}` } }),
      "another hold",
    ],
    ["is for this decision", (hold) => hold.sign("dba-1", SECOND, { claims: { decision: "deny" } }), "is to deny"],
    [
      "is an approval, and no other thing that a person signs",
      (hold) => hold.sign("dba-1", SECOND, { header: { typ: "client-authentication+jwt" } }),
      "its header has alg",
    ],
    [
      "is made in the ten minutes before",
      (hold) =>
        hold.sign("dba-1", HOUR, { claims: { at: new Date(1_790_000_000_000 + HOUR - 631 * SECOND).toISOString() } }),
      "not signed in the ten minutes",
    ],
    [
      "is not from the future",
      (hold) => hold.sign("dba-1", SECOND, { claims: { at: new Date(1_790_000_000_000 + 32 * SECOND).toISOString() } }),
      "not signed in the ten minutes",
    ],
    [
      "is not older than the request",
      (hold) => hold.sign("dba-1", SECOND, { claims: { at: new Date(1_790_000_000_000 - 31 * SECOND).toISOString() } }),
      "before the request",
    ],
    ["is by somebody who could approve", (hold) => hold.sign("stranger-1", SECOND), "stranger-1 could not approve"],
    ["is not by who owns the agent", (hold) => hold.sign("lead-1", SECOND), "lead-1 owns the agent"],
    [
      "says in its entry what it says itself",
      (hold) => hold.sign("dba-1", SECOND, { fields: { decision: "deny" } }),
      "its type and its decision differ",
    ],
    [
      "is of a kind that can be verified",
      (hold) => hold.sign("dba-1", SECOND, { fields: { signature: null } }),
      "of a kind",
    ],
  ];
  it.each(cases)("%s", async (_rule, write, fault) => {
    expect(await faultOf(write)).toMatch(new RegExp(`^2: hold\\.approved: [^;]*${fault}[^;]*$`));
  });

  it("is one a person", async () => {
    const write = (hold: MadeHold) => [1, 2].forEach((after) => hold.sign("dba-1", after * SECOND));
    expect(await faultOf(write)).toBe("3: hold.approved: dba-1 had signed before");
  });

  it("is never by one key for two people, across all holds", async () => {
    const record = startRecord();
    record.hold(TWO_TEAMS).sign("dba-1", SECOND);
    record.hold(TWO_TEAMS, { at: HOUR }).sign("dba-2", HOUR, { key: keyOf("dba-1") });
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("by which dba-1 signed before")]);
  });

  it("is by a key in its one spelling, so that one key has one name", async () => {
    const { x = "", ...rest } = keyOf("dba-2").publicJwk;
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const respelt = x.slice(0, -1) + digits.charAt(digits.indexOf(x.slice(-1)) + 1);
    expect(Buffer.from(respelt, "base64url")).toEqual(Buffer.from(x, "base64url"));
    const write = (hold: MadeHold) => hold.sign("dba-2", SECOND, { fields: { key: { x: respelt, ...rest } } });
    expect(await faultOf(write)).toContain("does not say who signed");
  });

  it("is by a key that policy registers for the person, where a policy is given", async () => {
    const record = startRecord();
    const hold = record.hold(TWO_TEAMS);
    hold.sign("dba-1", SECOND, { key: keyOf("stranger-1") });
    hold.sign("sec-1", SECOND);
    hold.fire("hold.claimed", 2 * SECOND, BOTH);
    expect(await problemsOf(record.lines)).toEqual([]);
    expect(await problemsOf(record.lines, isTheirs)).toEqual([
      expect.stringMatching(/^2: .*its key is not registered for dba-1 today/),
    ]);
  });
});

describe("a firing", () => {
  it.each(["hold.denied", "hold.cancelled", "hold.expired", "hold.invalidated"])("never follows %s", async (type) => {
    const { record, hold } = signed();
    if (type === "hold.denied") hold.sign("dba-2", 61 * SECOND, { decision: "deny" });
    else hold.next(type, 61 * SECOND);
    hold.fire("hold.claimed", 62 * SECOND, BOTH);
    expect(await problemsOf(record.lines)).toEqual([expect.stringMatching(/^5: hold\.claimed of \S+: it .* before$/)]);
  });

  it("never follows another", async () => {
    for (const type of ["hold.fired", "hold.unknown"]) {
      const { record, hold } = signed();
      hold.fire("hold.claimed", 61 * SECOND, BOTH);
      hold.next(type, 62 * SECOND);
      hold.fire("hold.claimed", 63 * SECOND, BOTH);
      expect(await problemsOf(record.lines)).toEqual([expect.stringMatching(/^6: hold\.claimed/)]);
    }
  });

  it("is claimed once, until it is returned", async () => {
    const { record, hold } = signed();
    hold.fire("hold.claimed", 61 * SECOND, BOTH);
    hold.fire("hold.claimed", 62 * SECOND, BOTH);
    expect(await problemsOf(record.lines)).toEqual([expect.stringMatching(/^5: .*it is claimed/)]);
  });

  it("of a call is claimed before it has an answer", async () => {
    const { record, hold } = signed();
    hold.fire("hold.fired", 61 * SECOND, BOTH);
    expect(await problemsOf(record.lines)).toEqual([expect.stringMatching(/^4: .*it was not claimed before/)]);
  });

  it("is of a hold that is on record", async () => {
    const { record } = signed();
    const other = startRecord().hold(TWO_TEAMS);
    record.append({ type: "hold.claimed", hold: other.document.hold, ...BOTH }, 61 * SECOND);
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("no such hold is open")]);
  });

  it("rests only on approvals that verified, and enough of them", async () => {
    const claim = (names: readonly string[]) => (hold: MadeHold) => {
      hold.sign("dba-1", SECOND);
      hold.sign("dba-2", SECOND);
      hold.sign("sec-1", SECOND, { claims: { digest: "0".repeat(64) } });
      hold.fire("hold.claimed", 2 * SECOND, { approvals: names });
    };
    expect(await faultOf(claim(["dba-1", "dba-2"]))).toContain("found 2, and nobody stands for security");
    expect(await faultOf(claim(["dba-1", "sec-1"]))).toContain("it rests on sec-1, of whom no sound approval");
    expect(await faultOf(claim([]))).toContain("expected 2 people of dba, security, found 0");
  });

  it("waits for the delay after the last approval that was needed, to the millisecond", async () => {
    for (const early of [0, 1]) {
      const { record, hold } = signed(DELAYED);
      hold.sign("both-1", 120 * SECOND);
      hold.fire("hold.claimed", 60 * SECOND + HOUR - early, { approvals: ["dba-1", "sec-1", "both-1"] });
      expect(await problemsOf(record.lines)).toHaveLength(early);
    }
  });

  it("counts the delay from the request where nobody has to sign", async () => {
    const wait = (after: number) =>
      faultOf((hold) => hold.fire("hold.claimed", after), { ...NOTHING, delaySeconds: 3600 });
    expect(await wait(HOUR - 1)).toContain("its delay ended at");
    expect(await wait(HOUR)).toBe("");
  });

  it("does not come after the hold has expired", async () => {
    const wait = (after: number) =>
      faultOf((hold) => hold.fire("hold.claimed", after), { ...NOTHING, expireSeconds: 3600 });
    expect(await wait(HOUR)).toBe("");
    expect(await wait(2 * HOUR)).toContain("it had expired");
  });

  it("is in the hours that every demand allows", async () => {
    // 1,790,000,000 is a Monday, 14:13 in UTC.
    const open = { days: ["mon"], from: "14:00", to: "15:00", zone: "UTC" } as const;
    const opens = { ...open, from: "14:13" } as const;
    const shut = { ...open, from: "16:00", to: "17:00" } as const;
    const wait = (window: Hours) => faultOf((hold) => hold.fire("hold.claimed", SECOND), { ...NOTHING, window });
    for (const window of [open, opens]) expect(await wait(window)).toBe("");
    expect(await wait(shut)).toContain("outside the hours");
  });

  it("has a reason where one is asked for", async () => {
    expect(await faultOf((hold) => hold.fire("hold.claimed", SECOND), { ...NOTHING, reason: true })).toContain(
      "a reason is asked for",
    );
  });
});

describe("the check itself", () => {
  it("says so where time runs backwards, by which a delay would be over", async () => {
    const { record, hold } = signed(DELAYED);
    hold.fire("hold.claimed", 2 * HOUR, BOTH);
    hold.next("hold.fired", HOUR);
    expect(await problemsOf(record.lines)).toEqual([expect.stringContaining("nothing runs backwards")]);
  });

  it("says so where it cannot keep all that waits, and lets nothing of it fire", async () => {
    const record = startRecord();
    const holds = [0, 1, 2].map((at) => record.hold({ ...NOTHING, delaySeconds: 1 }, { at }));
    for (const hold of holds) hold.fire("hold.claimed", 2 * SECOND);
    const limits = { openHolds: 2, openBytes: 1e6, ended: 10, attestations: 10, keys: 10 };
    const { approvals } = await verifyApprovals(record.lines, { checkpoints: [], limits });
    expect(approvals.problems.map(({ seq }) => seq)).toEqual([3, 6]);
  });

  it("keeps nothing of what has ended, so that a record may have any number of holds", async () => {
    const record = startRecord();
    for (const at of [0, 1, 2]) record.hold(TWO_TEAMS, { at: at * HOUR }).next("hold.cancelled", at * HOUR + 1);
    const limits = { openHolds: 1, openBytes: 2000, ended: 1, attestations: 10, keys: 10 };
    expect((await verifyApprovals(record.lines, { checkpoints: [], limits })).approvals.problems).toEqual([]);
  });

  it("does not know types that it does not know", async () => {
    expect(await faultOf((hold) => hold.next("hold.hurried", SECOND))).toContain("does not know its type");
  });

  it("reports a record that is not linked as such, beside what it says of approvals", async () => {
    const { record } = signed();
    const { record: chain } = await verifyApprovals(record.lines.toSpliced(1, 1), { checkpoints: [] });
    expect(chain.problems).toHaveLength(1);
  });

  it("never throws over what no broker writes", async () => {
    const { record, hold } = signed();
    hold.fire("hold.claimed", 61 * SECOND, BOTH);
    for (const value of [null, 1, "x", [], {}, { kind: "jws", value: 1 }, [null], "\u0000"]) {
      for (const field of ["hold", "document", "approvers", "person", "teams", "key", "signature", "permissions"]) {
        const lines = rewrite(record.lines, (fields) => ({ ...fields, [field]: value }));
        expect(await problemsOf(lines)).not.toEqual([]);
      }
    }
    // A lone surrogate has no canonical form.
    const [created = "", approved = ""] = record.lines;
    const broken = approved.replace('"task":"T-1"', String.raw`"task":"\ud800"`);
    expect((await verifyApprovals([created, broken], { checkpoints: [] })).record.problems).toHaveLength(1);
  });
});
