// Somebody who can write the store, and has no key: what people signed must still be the most that the broker does.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHolding, type HoldingGateway, roleWith, startHoldingGateway } from "../support/holding.ts";
import { type Rows, tamperWith } from "../support/tampered-store.ts";
import { jwtOf } from "../support/jwt-of.ts";

const HOUR = 3_600_000;
const CALLS = roleWith("{ approvals: { count: 2, from: [oncall, dba], perTeam: true }, delay: 48h }");
const GRANTS = roleWith("{ approvals: { count: 1, from: [oncall] }, delay: 48h }", "granter").replace(
  "upstream: railway",
  "upstream: shop-staging",
);
const ONCALL_2 = `kind: Person
name: oncall-2
powers: [approve]
teams: [oncall]
keys: [{ file: ../.valetkey/keys/oncall-2.pub.jwk }]
`;
const VOLUME = { action: "volume:delete", resource: "shop-staging:volume/uploads" } as const;

let gateway: HoldingGateway;
beforeEach(async () => {
  gateway = await startHoldingGateway({
    scopes: { "roles.yaml": `${CALLS}---\n${GRANTS}`, "zz-oncall.yaml": ONCALL_2 },
  });
});
afterEach(() => gateway.close());

async function tamper(sql: readonly string[], redis: (rows: Rows) => Promise<void>): Promise<void> {
  await gateway.broker.broker.close();
  await tamperWith(gateway.broker, { sql, redis });
  const broker = await gateway.broker.restart();
  gateway = {
    ...gateway,
    ...createHolding(broker),
    broker,
    close: () => broker.close().then(() => gateway.provider.close()),
  };
}

async function heldGrant(): Promise<{ readonly grant: string; readonly hold: string }> {
  const answer = await gateway.broker
    .as("coder")
    .call("requestGrant", { body: { task: "clean up", role: "granter", permissions: [VOLUME] } });
  if (!("hold" in answer)) throw new Error("expected a held grant");
  return { grant: answer.grant.id, hold: answer.hold.id };
}
/** As if it had fired at that instant, and had some minutes to go. */
async function makeActive(grant: string, hold: string, at: number): Promise<void> {
  const sql = [
    `UPDATE holds SET state = 'done', state_at = ${at} WHERE id = '${hold}'`,
    `UPDATE grants SET ends_at = ${at + 300_000} WHERE id = '${grant}'`,
  ];
  await tamper(sql, async (rows) => {
    await rows.change(`hold:${hold}`, "state", () => "done");
    await rows.change(`hold:${hold}`, "state_at", () => String(at));
    await rows.change(`grant:${grant}`, "ends_at", () => String(at + 300_000));
  });
}
const renewAs = (agent: string, grant: string) =>
  gateway.broker.as(agent).call("renewCredential", { params: { id: grant } });
const claimsOf = (jwt: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;

describe("who writes the store", () => {
  it("cannot end the delay of a call by moving the instants of its signatures back", async () => {
    const { id } = await gateway.hold();
    // Signed days after it was requested: the delay runs from here.
    gateway.broker.clock.advance(60 * HOUR);
    await gateway.sign("oncall-1", id);
    await gateway.sign("dba-1", id);
    const sql = [
      `UPDATE hold_approvals SET instant = instant - ${49 * HOUR} WHERE hold = '${id}' AND person = 'oncall-1'`,
      `UPDATE hold_approvals SET instant = instant - ${49 * HOUR} WHERE hold = '${id}' AND person = 'dba-1'`,
      `UPDATE holds SET wake_at = 0 WHERE id = '${id}'`,
    ];
    await tamper(sql, async (rows) => {
      for (const person of ["oncall-1", "dba-1"]) {
        await rows.change(`hold:${id}:approvals`, person, (text) =>
          text.replace(/^\d+/, (instant) => String(Number(instant) - 49 * HOUR)),
        );
      }
      await rows.wake(id);
    });
    await gateway.read(id, "oncall-1", 2);
    expect(gateway.reached()).toEqual([]);
  });

  it("cannot make one team stand for another", async () => {
    const { id } = await gateway.hold();
    await gateway.sign("oncall-1", id);
    await gateway.sign("oncall-2", id);
    const sql = [
      `UPDATE hold_approvals SET approval = replace(approval, '["oncall"]', '["dba"]') WHERE hold = '${id}' AND person = 'oncall-2'`,
      `UPDATE holds SET wake_at = 0 WHERE id = '${id}'`,
    ];
    await tamper(sql, async (rows) => {
      await rows.change(`hold:${id}:approvals`, "oncall-2", (text) => text.replace('["oncall"]', '["dba"]'));
      await rows.wake(id);
    });
    gateway.broker.clock.advance(49 * HOUR);
    await gateway.read(id, "oncall-1", 2);
    expect(gateway.reached()).toEqual([]);
  });

  it("cannot make a grant active within its delay", async () => {
    const { grant, hold } = await heldGrant();
    await gateway.sign("oncall-1", hold);
    const now = gateway.broker.clock.now();
    await makeActive(grant, hold, now);
    await expect(renewAs("coder", grant)).rejects.toMatchObject({ code: "conflict" });
  });

  it("cannot make a grant active within its delay by an instant that is yet to come", async () => {
    const { grant, hold } = await heldGrant();
    await gateway.sign("oncall-1", hold);
    const later = gateway.broker.clock.now() + 49 * HOUR;
    await makeActive(grant, hold, later);
    await expect(renewAs("coder", grant)).rejects.toMatchObject({ code: "conflict" });
  });

  it("cannot revive a grant that was approved once, a month later", async () => {
    const { grant, hold } = await heldGrant();
    await gateway.sign("oncall-1", hold);
    gateway.broker.clock.advance(49 * HOUR);
    await gateway.ended(hold);
    gateway.broker.clock.advance(29 * 24 * HOUR);
    const now = gateway.broker.clock.now();
    const sql = [
      `UPDATE holds SET state_at = ${now} WHERE id = '${hold}'`,
      `UPDATE grants SET ends_at = ${now + 300_000} WHERE id = '${grant}'`,
    ];
    await tamper(sql, async (rows) => {
      await rows.change(`hold:${hold}`, "state_at", () => String(now));
      await rows.change(`grant:${grant}`, "ends_at", () => String(now + 300_000));
    });
    await expect(renewAs("coder", grant)).rejects.toMatchObject({ code: "conflict" });
  });

  it("cannot give what was approved for one agent to another", async () => {
    const { grant, hold } = await heldGrant();
    await gateway.sign("oncall-1", hold);
    gateway.broker.clock.advance(49 * HOUR);
    await gateway.ended(hold);
    await tamper([`UPDATE grants SET agent = 'other-agent' WHERE id = '${grant}'`], async (rows) => {
      await rows.change(`grant:${grant}`, "agent", () => "other-agent");
      for (const field of ["draft", "look"]) {
        await rows.change(`grant:${grant}`, field, (text) => text.replace('"agent":"coder"', '"agent":"other-agent"'));
      }
    });
    await expect(renewAs("other-agent", grant)).rejects.toMatchObject({ code: "conflict" });
  });

  it("cannot have another task or role signed into the credential than people signed", async () => {
    const { grant, hold } = await heldGrant();
    await gateway.sign("oncall-1", hold);
    gateway.broker.clock.advance(49 * HOUR);
    await gateway.ended(hold);
    const sql = [`UPDATE grants SET task = 'another task', role = 'administrator' WHERE id = '${grant}'`];
    await tamper(sql, async (rows) => {
      await rows.change(`grant:${grant}`, "task", () => "another task");
      await rows.change(`grant:${grant}`, "role", () => "administrator");
      for (const field of ["draft", "look"]) {
        await rows.change(`grant:${grant}`, field, (text) =>
          text
            .replace('"task":"clean up"', '"task":"another task"')
            .replace('"role":"granter"', '"role":"administrator"'),
        );
      }
    });
    const minted = await renewAs("coder", grant).catch(() => null);
    const claims = minted === null ? {} : claimsOf(jwtOf(minted.credential).value);
    expect([claims["task"], claims["role"]]).not.toContain("another task");
    expect([claims["task"], claims["role"]]).not.toContain("administrator");
  });
});
