// Brokers whose machines' clocks are 10 s apart, on one store: the instants that decide are the store's alone (semantics,
// rules 10 and 35). What one revokes, the other gives nothing of, and nothing that waits comes early.

import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toTimestamp } from "../../src/core/clock.ts";
import { digestOfHold } from "../../src/core/hold-document.ts";
import type { HoldId } from "../../src/core/ids.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { readEvents } from "../support/read-events.ts";
import { ISSUER, openReplicas, type Replicas } from "../support/replicas.ts";

const SKEWED = join(import.meta.dirname, "../support/skewed-clock.ts");
const DELAY_MS = 2000;
const OTHERS = {
  "settings.yaml": "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n",
  "clocks.yaml": `kind: Role
name: clock-writer
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [domain:write]
    resources: { type: service }
---
kind: Role
name: clock-waiter
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [domain:write]
    resources: { type: service }
    requires: { approvals: { count: 1, from: [oncall] }, delay: 2s }
`,
};

interface Skewed {
  readonly process: BrokerProcess;
  as(name: string): ApiClient;
}

let replicas: Replicas;
let ahead: Skewed;
let behind: Skewed;

async function start(skewMs: number): Promise<Skewed> {
  const process = await startBrokerProcess(replicas.folder.path, {
    VALETKEY_STORE: replicas.server.url,
    VALETKEY_ISSUER: ISSUER,
    NODE_OPTIONS: `--import=${SKEWED}`,
    TEST_CLOCK_SKEW_MS: String(skewMs),
  });
  const { url } = process;
  return { process, as: (name) => createApiClient({ url, issuer: ISSUER, name, key: replicas.keyOf(name) }) };
}

beforeAll(async () => {
  replicas = await openReplicas({ scopes: OTHERS });
  [ahead, behind] = await Promise.all([start(10_000), start(-10_000)]);
});
afterAll(async () => {
  await Promise.all([ahead, behind].map((broker) => broker.process.end("SIGTERM")));
  await replicas.close();
});

async function ask(on: Skewed, role: string, task: string) {
  const permissions = [{ action: "domain:write", resource: "shop-staging:service/web" }];
  const answer = await on.as("coder").call("requestGrant", { body: { task, role, permissions } });
  if (!("grant" in answer)) throw new Error("expected a grant");
  return answer;
}

const renew = (on: Skewed, id: string) => on.as("coder").call("renewCredential", { params: { id } });

async function approve(on: Skewed, id: HoldId): Promise<void> {
  const person = on.as("oncall-1");
  const { document } = await person.call("readHold", { params: { id } });
  const claims = {
    hold: id,
    digest: digestOfHold(document),
    decision: "approve",
    at: toTimestamp(Date.now()),
  } as const;
  const value = await signApproval(createKeySigner(replicas.keyOf("oncall-1")), claims);
  const body = { decision: "approve", signature: { kind: "jws", value } } as const;
  await person.call("signHold", { params: { id }, body });
}

describe("brokers whose own clocks are 20 s apart", { timeout: 60_000 }, () => {
  it("let no grant slip past a cut-off, whichever of them is asked", async () => {
    for (let round = 0; round < 10; round++) {
      const [revoker, giver] = round % 2 === 0 ? [behind, ahead] : [ahead, behind];
      const before = await Promise.all([ask(giver, "clock-writer", "a"), ask(revoker, "clock-writer", "b")]);
      const { revocation, liveGrants } = await revoker
        .as("security-1")
        .call("revoke", { body: { target: { agent: "coder" }, reason: "test" } });
      expect(liveGrants).toBe(2);
      for (const { grant } of before) {
        await expect(renew(giver, grant.id)).rejects.toMatchObject({ code: "cut_off" });
        await expect(renew(revoker, grant.id)).rejects.toMatchObject({ code: "cut_off" });
      }
      const { grant } = await ask(giver, "clock-writer", "c");
      expect(Date.parse(grant.issuedAt)).toBeGreaterThan(Date.parse(revocation.before));
      await renew(revoker, grant.id);
      await giver.as("coder").call("endGrant", { params: { id: grant.id } });
    }
  });

  it("give instants that are the store's, and never go back in the record", async () => {
    const events = await readEvents(ahead);
    const instants = events.map(({ time }) => Date.parse(String(time)));
    expect(instants.every((instant, i) => i === 0 || instant >= (instants[i - 1] ?? 0))).toBe(true);
    // 10 s off would show: a round trip does not.
    expect(Math.abs(Date.now() - (instants.at(-1) ?? 0))).toBeLessThan(9000);
  });

  it("fire nothing early that waits for a delay, wherever it was asked for, signed and fired", async () => {
    for (const [asked, signed] of [
      [ahead, behind],
      [behind, ahead],
    ] as const) {
      const answer = await ask(asked, "clock-waiter", `wait for ${signed === ahead ? "one" : "the other"}`);
      if (!("hold" in answer)) throw new Error("expected a hold");
      const id = answer.hold.id;
      const approvedAt = Date.now();
      await approve(signed, id);
      for (let state = "waiting"; state !== "done"; await wait(50)) {
        ({ state } = (await asked.as("oncall-1").call("readHold", { params: { id } })).hold);
        if (state === "done") expect(Date.now() - approvedAt).toBeGreaterThanOrEqual(DELAY_MS - 50);
      }
      const events = (await readEvents(ahead)).filter((event) => event["hold"] === id);
      const timeOf = (type: string) => Date.parse(String(events.find((event) => event["type"] === type)?.["time"]));
      expect(timeOf("hold.fired") - timeOf("hold.approved")).toBeGreaterThanOrEqual(DELAY_MS);
    }
  });
});
