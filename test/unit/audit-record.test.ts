// Drafts of events, the counter of nameless refusals, and docs/audit.md against the types of events.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { draftEvent, type Event } from "../../src/audit/events.ts";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { createRefusalCounter } from "../../src/audit/refusal-counter.ts";
import type { Reason } from "../../src/core/errors.ts";
import { EMPTY_HASH, type LeafDraft, MAX_LEAF_BYTES, PLACED_FIELDS, placeLeaf } from "../../src/core/leaf.ts";

const POLICY = "0".repeat(64);

function refusedWith(reasons: readonly Reason[]): Event {
  const permissions = Array.from({ length: 32 }, () => ({
    action: `${"a".repeat(32)}:${"b".repeat(32)}`,
    resource: `u:${"r".repeat(120)}/${"s".repeat(120)}`,
    environments: ["staging"],
  }));
  return {
    type: "grant.refused",
    agent: "coder",
    owner: null,
    task: "T-1",
    role: null,
    upstream: "u",
    permissions,
    request: null,
    policy: POLICY,
    reasons,
    reason: null,
  };
}

describe("a draft of an event", () => {
  it.each(PLACED_FIELDS)("may not carry %s: that comes with its place", (field) => {
    const event: Event = { type: "broker.stopped", policy: POLICY };
    expect(() => draftEvent({ ...event, [field]: "x" })).toThrow(TypeError);
    expect(() => draftEvent(event)).not.toThrow();
  });

  it("lists at most 24 reasons and says how many it left out", () => {
    const reasons = Array.from({ length: 40 }, (_, i): Reason => ({ code: "no_role", message: `reason ${i}` }));
    expect(draftEvent(refusedWith(reasons)).fields).toMatchObject({
      reasons: reasons.slice(0, 24),
      reasonsOmitted: 16,
    });
    expect(draftEvent(refusedWith(reasons.slice(0, 24))).fields).not.toHaveProperty("reasonsOmitted");
    expect(draftEvent(refusedWith(reasons.slice(0, 24))).fields["reasons"]).toHaveLength(24);
  });

  it("fits a leaf however many labels its reasons repeat, and keeps the first reason", () => {
    const values = Array.from({ length: 40 }, (_, i) => `${"e".repeat(60)}${i}`);
    const reason: Reason = {
      code: "environment_mismatch",
      message: "m".repeat(400),
      labels: { agent: values, resource: values },
    };
    const draft = draftEvent(refusedWith(Array.from({ length: 32 }, () => reason)));
    expect(Buffer.byteLength(placeLeaf(draft, {}, { seq: 0, hash: EMPTY_HASH }, 1000).text)).toBeLessThan(
      MAX_LEAF_BYTES,
    );
    expect(draft.fields["reasons"]).toEqual([reason, reason, reason, reason]);
    expect(draft.fields["reasonsOmitted"]).toBe(28);
    const huge: Reason = {
      ...reason,
      labels: { agent: [], resource: Array.from({ length: 10 }, () => values).flat() },
    };
    expect(draftEvent(refusedWith([huge, reason])).fields["reasons"]).toEqual([huge]);
  });

  it("has a random part of its own", () => {
    const event: Event = { type: "broker.stopped", policy: POLICY };
    expect(draftEvent(event).random).not.toBe(draftEvent(event).random);
  });
});

describe("the counter of refusals", () => {
  const make = () => {
    const written: LeafDraft[] = [];
    const state = { fails: false };
    const record: RecordPort = {
      append: async ({ events }) => {
        if (state.fails) throw new Error("no space left");
        written.push(...events);
        return { outcome: "appended", instant: 0, head: { seq: 0, hash: EMPTY_HASH } };
      },
      head: async () => ({ seq: 0, hash: EMPTY_HASH, instant: 0 }),
      read: async () => [],
    };
    return {
      written,
      state,
      counter: createRefusalCounter(
        record,
        () => 0,
        () => POLICY,
      ),
    };
  };

  it("writes one event for all since the last, and none where there was nothing", async () => {
    const { counter, written } = make();
    await counter.flush();
    expect(written).toHaveLength(0);
    for (const code of ["proof_invalid", "proof_invalid", "proof_expired"]) counter.count(code);
    await counter.flush();
    await counter.flush();
    expect(written.map(({ fields }) => fields)).toEqual([
      { type: "refusals.counted", counts: { proof_invalid: 2, proof_expired: 1 }, policy: POLICY },
    ]);
  });

  it("loses no count when the record cannot be written", async () => {
    const { counter, written, state } = make();
    counter.count("proof_invalid");
    state.fails = true;
    const failing = counter.flush();
    counter.count("proof_invalid");
    await expect(failing).rejects.toThrow("no space left");
    state.fails = false;
    await counter.flush();
    expect(written.map(({ fields }) => fields["counts"])).toEqual([{ proof_invalid: 2 }]);
  });
});

describe("docs/audit.md", () => {
  const root = join(import.meta.dirname, "../..");
  it("lists every type of event, and none that there is not", () => {
    const names = readdirSync(join(root, "src/audit")).filter((name) => /^(?:[a-z]+-)?events\.ts$/.test(name));
    const source = names.map((name) => readFileSync(join(root, "src/audit", name), "utf8")).join("\n");
    const types = [...source.matchAll(/readonly type: "([a-z]+\.[a-z]+)"/g)].map(([, type = ""]) => type);
    expect(types.length).toBeGreaterThan(20);
    const documented = [
      ...readFileSync(join(root, "docs/audit.md"), "utf8").matchAll(/^\| `([a-z]+\.[a-z]+)` \|/gm),
    ].map(([, type = ""]) => type);
    expect(documented.toSorted()).toEqual(types.toSorted());
  });
});
