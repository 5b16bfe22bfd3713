// Signatures that must not count, sent through the front door: over other bytes, for another hold, sent again, too old, by
// somebody else. What each leaves behind is looked at, too: a refusal on record, a hold that waits as before.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { digestOfHold } from "../../src/core/hold-document.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { DELETE_STAGING, eventsOf, type HoldingGateway, roleWith, startHoldingGateway } from "../support/holding.ts";
import { post, signProof } from "../support/raw-http.ts";
import { readEvents } from "../support/read-events.ts";

const MINUTE = 60_000;
const TWO = "{ approvals: { count: 2, from: [oncall, dba], perTeam: true } }";
const PEOPLE = `kind: Person
name: oncall-2
powers: [approve]
teams: [oncall, dba]
keys: [{ file: ../.valetkey/keys/oncall-2.pub.jwk }]
`;

let gateway: HoldingGateway;
let tasks = 0;
beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": roleWith(TWO), "more-people.yaml": PEOPLE } });
});
beforeEach(() => gateway.putBack());
afterAll(() => gateway.close());

const hold = async (): Promise<string> => (await gateway.hold(DELETE_STAGING, {}, { task: `attack ${++tasks}` })).id;

function send(person: string, id: string, value: string, decision: "approve" | "deny" = "approve") {
  const body = { decision, signature: { kind: "jws" as const, value } };
  return gateway.broker.as(person).call("signHold", { params: { id }, body });
}

/** It was refused with this code, and the hold is as if it had never been sent. */
async function expectRefused(id: string, attempt: () => Promise<unknown>, code: ErrorCode): Promise<void> {
  const before = (await gateway.read(id)).hold;
  await expect(attempt()).rejects.toMatchObject({ name: "RefusedError", code });
  expect((await gateway.read(id)).hold).toEqual(before);
  expect((await eventsOf(gateway.broker, id)).at(-1)).toBe("approval.refused");
}

/** Of the same form. */
const another = <Id extends string>(id: Id): Id => `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}` as Id; // What it is made of has the form.

describe("a signature is refused", () => {
  it("over another digest", async () => {
    const id = await hold();
    const { document } = await gateway.read(id);
    const others = [
      "0".repeat(64),
      digestOfHold({ ...document, reason: "another" }),
      digestOfHold({ ...document, hold: another(document.hold) }),
    ];
    for (const digest of others) {
      const value = await gateway.signature("oncall-1", id, { digest });
      await expectRefused(id, () => send("oncall-1", id, value), "approval_invalid");
    }
  });

  it("that stands for another hold, whole or by its digest alone", async () => {
    const [id, other] = [await hold(), await hold()];
    const whole = await gateway.signature("oncall-1", other);
    await expectRefused(id, () => send("oncall-1", id, whole), "approval_invalid");
    const { hold: waiting } = await gateway.read(other);
    const mixed = await gateway.signature("oncall-1", id, { digest: waiting.digest });
    await expectRefused(id, () => send("oncall-1", id, mixed), "approval_invalid");
    // Where it belongs it counts.
    expect(await send("oncall-1", other, whole)).toMatchObject({ approvals: [{ person: "oncall-1", counts: true }] });
  });

  it("when it is sent twice: one person counts once", async () => {
    const id = await hold();
    const value = await gateway.signature("oncall-1", id);
    await send("oncall-1", id, value);
    await expect(send("oncall-1", id, value)).rejects.toMatchObject({ code: "conflict" });
    await expect(gateway.sign("oncall-1", id)).rejects.toMatchObject({ code: "conflict" });
    expect((await gateway.read(id)).hold).toMatchObject({ state: "waiting", approvals: [{ person: "oncall-1" }] });
  });

  it("when its hold was cancelled and the same call waits again", async () => {
    const task = `attack ${++tasks}`;
    const first = await gateway.hold(DELETE_STAGING, {}, { task });
    const value = await gateway.signature("oncall-1", first.id);
    await send("oncall-1", first.id, value);
    await gateway.broker.as("oncall-1").call("cancelHold", { params: { id: first.id }, body: {} });
    const second = await gateway.hold(DELETE_STAGING, {}, { task });
    expect(second.id).not.toBe(first.id);
    await expectRefused(second.id, () => send("oncall-1", second.id, value), "approval_invalid");
    await expect(send("oncall-1", first.id, value)).rejects.toMatchObject({ code: "conflict" });
  });

  it("more than ten minutes after it was made", async () => {
    const id = await hold();
    const value = await gateway.signature("oncall-1", id);
    gateway.broker.clock.advance(10 * MINUTE + 1);
    await expectRefused(id, () => send("oncall-1", id, value), "approval_invalid");
    await gateway.sign("oncall-1", id);
  });

  it("from before the request, and from the future", async () => {
    const id = await hold();
    for (const away of [-2 * MINUTE, 2 * MINUTE]) {
      const at = toTimestamp(gateway.broker.clock.now() + away);
      const value = await gateway.signature("oncall-1", id, { at });
      await expectRefused(id, () => send("oncall-1", id, value), "approval_invalid");
    }
  });

  it("that says deny where approve is sent with it, and the other way round", async () => {
    const id = await hold();
    const [approval, denial] = [
      await gateway.signature("oncall-1", id),
      await gateway.signature("oncall-1", id, { decision: "deny" }),
    ];
    await expectRefused(id, () => send("oncall-1", id, denial, "approve"), "approval_invalid");
    await expectRefused(id, () => send("oncall-1", id, approval, "deny"), "approval_invalid");
  });

  it("of another person than the one who sends it", async () => {
    const id = await hold();
    const stolen = await gateway.signature("oncall-1", id);
    await expectRefused(id, () => send("dba-1", id, stolen), "approval_invalid");
    await expectRefused(id, () => send("oncall-2", id, stolen), "approval_invalid");
  });

  it("by a key that is not the person's", async () => {
    const id = await hold();
    const { hold: waiting } = await gateway.read(id);
    const at = toTimestamp(gateway.broker.clock.now());
    const claims = { hold: waiting.id, digest: waiting.digest, decision: "approve", at } as const;
    for (const name of ["coder", "spare-agent", "admin-1"]) {
      const value = await signApproval(createKeySigner(gateway.broker.keyOf(name)), claims);
      await expectRefused(id, () => send("oncall-1", id, value), "approval_invalid");
    }
  });

  it("of a person who is in none of the teams", async () => {
    const id = await hold();
    await expectRefused(id, () => gateway.sign("security-1", id), "approver_ineligible");
  });

  it("that is a proof of identity of the same person", async () => {
    const id = await hold();
    const proof = await signProof(gateway.broker, "oncall-1");
    await expectRefused(id, () => send("oncall-1", id, proof), "approval_invalid");
  });

  it("of an unknown kind, absent, or larger than signatures are", async () => {
    const id = await hold();
    const value = await gateway.signature("oncall-1", id);
    const bodies: unknown[] = [
      { decision: "approve" },
      { decision: "approve", signature: value },
      { decision: "approve", signature: { kind: "webauthn", value } },
      { decision: "approve", signature: { kind: "jws", value: "a".repeat(5000) } },
      { decision: "perhaps", signature: { kind: "jws", value } },
      { decision: "approve", signature: { kind: "jws", value }, person: "dba-1" },
      { decision: "approve", signature: { kind: "jws", value }, teams: ["dba"] },
    ];
    for (const body of bodies) {
      const path = `/v1/holds/${id}/approvals`;
      const answer = await post(gateway.broker, path, JSON.stringify(body), { name: "oncall-1" });
      expect(answer, JSON.stringify(body)).toMatchObject({ status: 400, body: { code: "malformed_request" } });
    }
    expect((await gateway.read(id)).hold.approvals).toEqual([]);
  });
});

describe("a person", () => {
  it("of both teams stands for one of them: a second one must sign", async () => {
    const id = await hold();
    const { state, missing } = await gateway.sign("oncall-2", id);
    expect(state).toBe("waiting");
    expect(missing).toMatchObject([{ kind: "approvals", have: 1, count: 2 }]);
    await gateway.sign("dba-1", id);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
  });

  it("without the power approve signs nothing, and neither does an agent", async () => {
    const id = await hold();
    const { digest, id: own } = (await gateway.read(id)).hold;
    const at = toTimestamp(gateway.broker.clock.now());
    for (const name of ["admin-1", "coder", "backup-1", "shop-verifier"]) {
      const signer = createKeySigner(gateway.broker.keyOf(name));
      const value = await signApproval(signer, { hold: own, digest, decision: "approve", at });
      await expect(send(name, id, value), name).rejects.toMatchObject({ code: "power_missing", status: 403 });
      await expect(send(name, id, value, "deny"), name).rejects.toMatchObject({ code: "power_missing" });
    }
    expect((await gateway.read(id)).hold).toMatchObject({ state: "waiting", approvals: [] });
  });

  it("ends it with a denial, whoever signed before; then nobody signs any more", async () => {
    const id = await hold();
    await gateway.sign("oncall-1", id);
    const denied = await gateway.sign("dba-1", id, "deny");
    expect(denied).toMatchObject({ state: "denied", endedBy: "dba-1", missing: [] });
    await expect(gateway.sign("oncall-2", id)).rejects.toMatchObject({ code: "conflict" });
    const cancel = gateway.broker.as("oncall-1").call("cancelHold", { params: { id }, body: {} });
    await expect(cancel).rejects.toMatchObject({ code: "conflict" });
    expect(await eventsOf(gateway.broker, id)).toEqual(["hold.created", "hold.approved", "hold.denied"]);
  });
});

describe("the record", () => {
  it("names who was refused and why, and quotes nothing that was sent", async () => {
    const id = await hold();
    const value = await gateway.signature("oncall-1", id, { digest: "5".repeat(64) });
    await expect(send("oncall-1", id, value)).rejects.toMatchObject({ code: "approval_invalid" });
    const event = (await readEvents(gateway.broker)).findLast(({ type }) => type === "approval.refused");
    expect(event).toMatchObject({ hold: id, person: "oncall-1", reasons: [{ code: "approval_invalid" }] });
    expect(JSON.stringify(event)).not.toContain("5".repeat(64));
    expect(JSON.stringify(event)).not.toContain(value.split(".")[2]);
  });
});
