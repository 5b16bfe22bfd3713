// Random histories of a whole store, of every kind of row that there is, for the tests of copying one. No model: what was
// refused has changed nothing, and is as good a history as any.

import fc from "fast-check";
import { newId, type RequestId } from "../../src/core/ids.ts";
import type { StoredGrant } from "../../src/grants/grant-port.ts";
import type { StoredHold } from "../../src/holds/hold-port.ts";
import type { StoredCutOff } from "../../src/revocation/revocation-port.ts";
import type { StoredKey } from "../../src/secrets/key-port.ts";
import type { StorePorts } from "../../src/store/store.ts";
import * as drafts from "../contract/drafts.ts";
import * as held from "../contract/held-drafts.ts";

const ACTS = [
  "issue",
  "release",
  "begin",
  "end",
  "cut",
  "freeze",
  "unfreeze",
  "reopen",
  "holdCall",
  "holdGrant",
  "approve",
  "cancel",
  "claim",
  "settle",
  "takeOutcome",
  "activate",
  "attest",
  "putSecret",
  "deleteSecret",
  "canary",
  "key",
  "retire",
  "cursor",
  "order",
  "gone",
  "wait",
] as const;

export interface Act {
  readonly do: (typeof ACTS)[number];
  readonly n: number;
}

export const history: fc.Arbitrary<readonly Act[]> = fc.array(
  fc.record({ do: fc.constantFrom(...ACTS), n: fc.nat(30) }),
  { minLength: 20, maxLength: 120, size: "max" },
);

/** Each kind of row at least once. */
export const everything: readonly Act[] = [
  ...ACTS.filter((act) => !["wait", "freeze", "cut", "gone"].includes(act)).map((act) => ({ do: act, n: 3 })),
  // One that fires, and stays so.
  { do: "issue" as const, n: 4 },
  { do: "holdCall" as const, n: 0 },
  { do: "claim" as const, n: 0 },
  { do: "issue" as const, n: 0 },
  { do: "order" as const, n: 0 },
  { do: "begin" as const, n: 0 },
  ...["issue", "holdCall", "holdGrant", "approve", "begin", "key", "putSecret", "cut", "freeze"].map((act, n) => ({
    // Each is one of them.
    do: act as Act["do"],
    n,
  })),
];

const LONG = 50 * drafts.MINUTE;
const AGENTS = ["coder", "other", "third"] as const;
const TASKS = ["fix the checkout", "one", "two"] as const;
const BYTES = new Uint8Array([0, 255, 1, 254]);

interface Past {
  at: number;
  readonly grants: StoredGrant[];
  readonly holds: StoredHold[];
  readonly cutOffs: StoredCutOff[];
  readonly calls: RequestId[];
  readonly keys: StoredKey["id"][];
  version: number;
}

/** Answers the instant at which it ended. */
export async function live(store: StorePorts, acts: readonly Act[], start = drafts.T0): Promise<number> {
  const past: Past = { at: start, grants: [], holds: [], cutOffs: [], calls: [], keys: [], version: 0 };
  await drafts.activate(store, start);
  await store.writeMasterKeyCheck(BYTES);
  for (const act of acts) await take(store, past, act);
  return past.at;
}

function pick<Each>(list: readonly Each[], n: number): Each | undefined {
  return list[list.length - 1 - (n % Math.max(1, list.length))];
}

async function take(store: StorePorts, past: Past, { do: act, n }: Act): Promise<void> {
  const at = (past.at += 3);
  const [agent, task] = [AGENTS[n % 3] ?? "coder", TASKS[(n >> 1) % 3] ?? "one"];
  const grant = pick(past.grants, n);
  const known = pick(past.holds, n);
  const hold = known === undefined ? undefined : (await store.findHold(known.id))?.hold;
  switch (act) {
    case "issue": {
      const crossingFrom = n % 4 === 0 ? ["production"] : null;
      const limit = n % 3 === 0 ? { limit: { agent, role: "domain-editor", perMinute: 5 } } : {};
      const answer = await drafts.issue(
        store,
        at,
        { agent, task, crossingFrom, owner: n % 5 === 0 ? null : "dev-1" },
        limit,
      );
      if (answer.outcome === "issued") past.grants.push(answer.grant);
      return;
    }
    case "release":
      return void (grant && (await drafts.release(store, at, grant)));
    case "begin": {
      const call = newId("req", at);
      if (grant && (await drafts.begin(store, at, grant, { call })).outcome === "begun") past.calls.push(call);
      return;
    }
    case "end": {
      const call = pick(past.calls, n);
      return void (call && (await drafts.end(store, at, call)));
    }
    case "cut": {
      const targets = [{ agent }, { task }, { role: "reader", agent }, { environment: "other" }, { upstream: "none" }];
      const target = n % 7 === 0 && grant ? { grant: grant.id } : (targets[n % 5] ?? { agent });
      return void past.cutOffs.push(await drafts.cut(store, at, target));
    }
    case "freeze": {
      const answer = await store.freeze({ ...drafts.cutOffCommand(at, { agent }), agent });
      if (answer.outcome === "frozen") past.cutOffs.push(answer.cutOff);
      return;
    }
    case "unfreeze":
      return void (await store.unfreeze({
        at,
        proof: drafts.proofAt(at),
        agent,
        event: drafts.eventOf("agent.unfrozen"),
      }));
    case "reopen": {
      const id = pick(past.cutOffs, n)?.id;
      if (id !== undefined)
        await store.reopen({ at, proof: drafts.proofAt(at), id, event: drafts.eventOf("cutoff.reopened") });
      return;
    }
    case "holdCall": {
      if (!grant) return;
      const fingerprint = n % 3 === 0 ? { fingerprint: "the same" } : {};
      const answer = await held.holdCall(store, at, grant, { ...fingerprint, sealed: new Uint8Array(n * 100).fill(n) });
      if (answer.outcome === "held") past.holds.push(answer.hold);
      return;
    }
    case "holdGrant": {
      const answer = await held.holdGrant(store, at, { agent, task });
      if (answer.outcome !== "held") return;
      past.holds.push(answer.hold);
      past.grants.push(answer.grant);
      return;
    }
    case "approve":
      return void (hold && (await held.approve(store, at, hold, `oncall-${n % 3}`)));
    case "cancel":
      return void (hold && (await held.cancel(store, at, hold)));
    case "claim":
      return void (hold && (await held.claim(store, at, hold)));
    case "settle":
      return void (hold && (await held.settle(store, at, hold)));
    case "takeOutcome":
      if (!hold) return;
      return void (await store.takeOutcome({
        at,
        proof: drafts.proofAt(at),
        id: hold.id,
        event: drafts.eventOf("hold.taken"),
      }));
    case "activate":
      return void (hold && (await held.activateHeld(store, at, hold, { version: hold.version })));
    case "attest":
      return void (await held.attest(store, at, held.statementOf(at - (n % 4) * 1000), held.statementOf(at - 2000)));
    case "putSecret": {
      const version = (await store.lastSecretVersion("root")) + 1;
      const secret = { name: "root", version, origins: ["https://a.example"], sealedKey: BYTES, sealedValue: BYTES };
      const event = drafts.eventOf("secret.sealed");
      return void (await store.putSecret({
        at,
        proof: drafts.proofAt(at),
        secret: { ...secret, createdBy: "admin-1" },
        event,
      }));
    }
    case "deleteSecret":
      return void (await store.deleteSecret({
        at,
        proof: drafts.proofAt(at),
        name: "root",
        event: drafts.eventOf("secret.deleted"),
      }));
    case "canary": {
      const canary = { id: newId("can", at), like: "railway", note: n % 2 ? "a note" : null, hash: BYTES };
      const event = drafts.eventOf("canary.created");
      await store.addCanary({ at, proof: drafts.proofAt(at), canary: { ...canary, createdBy: "security-1" }, event });
      return;
    }
    case "key": {
      const id = newId("key", at);
      const publicJwk = { kty: "EC", crv: "P-256", x: "x", y: "y" };
      const add = [{ id, purpose: "credential", state: "retiring", publicJwk, sealed: BYTES } as const];
      await store.changeKeys({ at, proof: null, add, moves: [], events: [drafts.eventOf("key.created")] });
      return void past.keys.push(id);
    }
    case "retire": {
      const id = past.keys.shift();
      if (id === undefined) return;
      const moves = [{ id, state: "retired" } as const];
      await store.changeKeys({ at, proof: null, add: [], moves, events: [drafts.eventOf("key.retired")] });
      return;
    }
    case "cursor":
      return store.moveCursor({
        at,
        cursor: { name: `hook-${n % 3}`, seq: n, attempts: n % 2, nextAt: at },
        event: null,
      });
    case "order": {
      if (grant === undefined) return;
      const { id, agent: owner, role, upstream, endsAt } = grant;
      const row = { grant: id, agent: owner, task: grant.task, role, upstream, kind: "postgres", endsAt } as const;
      const place = { handle: `vk_${n}`, address: "postgres://db:5432/shop", policy: "p".repeat(64), dueAt: at + n };
      const event = drafts.eventOf("credential.ordered");
      const credential = { ...row, ...place };
      await store.orderCredential({ at, agent: owner, policyDigest: drafts.POLICY, credential, event });
      return;
    }
    case "gone": {
      const row = grant === undefined ? null : await store.findCredential(grant.id);
      if (row === null) return;
      const ending = { ...row, state: "ending", endingSince: at, attempts: n, failure: `no answer ${n}` } as const;
      const to = n % 4 === 0 ? null : ending;
      const endGrantBy = n % 5 === 0 ? "credential.failed" : null;
      await store.changeCredential({ at, grant: row.grant, version: row.version, to, endGrantBy, event: null });
      return;
    }
    case "wait":
      past.at += n % 5 === 0 ? LONG : n * 1000;
  }
}
