// What one worker can ask of the brokers; each answer, and what the record must then hold, goes into the history. Nothing
// is asked twice: an answer that did not come leaves open whether it was done.

import { toTimestamp } from "../../src/core/clock.ts";
import { digestOfHold } from "../../src/core/hold-document.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { type Call, type Expected, type History, NotAnswered, outcomeOf } from "./history.ts";
import { pathOf, UPSTREAM } from "./policy.ts";
import type { Slot, World } from "./world.ts";
import { jwtOf } from "../support/jwt-of.ts";

export interface Granted {
  readonly grant: string;
  readonly agent: string;
  readonly task: string;
  readonly credentialId: string;
  readonly credential: string;
}

export interface FaultClient {
  mint(
    slot: Slot,
    agent: string,
    task: string,
    role: string,
    permissions: readonly Permission[],
  ): Promise<Granted | null>;
  renew(slot: Slot, of: Granted): Promise<boolean>;
  release(slot: Slot, of: Granted): Promise<boolean>;
  /** Calls `POST /<operation>/t…` with a body of its own; answers with the hold's id where it is held. */
  call(slot: Slot, by: Granted, operation: Call["operation"]): Promise<{ readonly hold: string | null } | null>;
  sign(slot: Slot, hold: string, decision: "approve" | "deny"): Promise<boolean>;
  cancel(slot: Slot, hold: string): Promise<boolean>;
  revoke(slot: Slot, target: Target): Promise<boolean>;
  freeze(slot: Slot, agent: string): Promise<boolean>;
  unfreeze(slot: Slot, agent: string): Promise<boolean>;
}

interface Permission {
  readonly action: string;
  readonly resource: string;
}

type Target = { readonly grant: string } | { readonly task: string } | { readonly agent: string };

const CALL_MS = 5000;

/** One for the whole run: its numbers make every task, body and reason its own. */
export function createFaultClient(world: World, history: History): FaultClient {
  let count = 0;

  async function ask<Answer>(
    kind: string,
    slot: Slot,
    send: () => Promise<Answer>,
    expect: (answer: Answer) => Expected | null,
  ): Promise<Answer | null> {
    const askedAt = performance.now();
    const add = (outcome: string, expected: Expected | null): void =>
      history.add({ kind, slot: slot.index, askedAt, answeredAt: performance.now(), outcome, expected });
    let answer: Answer;
    try {
      answer = await send();
    } catch (thrown) {
      add(outcomeOf(thrown), null);
      return null;
    }
    add("ok", expect(answer));
    return answer;
  }

  const mint: FaultClient["mint"] = async (slot, agent, task, role, permissions) => {
    const body = { task, role, permissions };
    const answer = await ask(
      "mint",
      slot,
      async () => {
        const given = await slot.as(agent).call("requestGrant", { body });
        if (!("credential" in given)) throw new Error("expected a credential");
        return given;
      },
      ({ credential: { id } }) => ({ types: ["grant.issued"], field: "credential", value: id }),
    );
    if (answer === null) return null;
    const { grant, credential } = answer;
    return { grant: grant.id, agent, task, credentialId: credential.id, credential: jwtOf(credential).value };
  };

  const call: FaultClient["call"] = async (slot, by, operation) => {
    const n = count++;
    const body = JSON.stringify({ n });
    let answer: Call["answer"] = null;
    const sent = await ask(
      operation === "write" ? "call" : "ask for a held call",
      slot,
      async () => {
        const response = await fetch(`${slot.url}/gateway/${UPSTREAM}${pathOf(operation, n)}`, {
          method: "POST",
          headers: { authorization: `Bearer ${by.credential}`, "content-type": "application/json" },
          body,
          signal: AbortSignal.timeout(CALL_MS),
        }).catch(() => null);
        // A body that breaks off is no answer.
        const whole = await response?.text().catch(() => null);
        const code = response?.headers.get("valetkey-error") ?? null;
        if (response === null || typeof whole !== "string") throw new NotAnswered("unreachable");
        if (code !== null || response.status >= 400) throw new NotAnswered(code ?? "unreachable");
        answer = { status: response.status, hold: response.headers.get("valetkey-hold") };
        return answer;
      },
      ({ hold }) =>
        hold === null
          ? { types: ["call.allowed"], field: "grant", value: by.grant }
          : { types: ["hold.created"], field: "hold", value: hold },
    );
    history.addCall({ body, operation, grant: by.grant, answer });
    return sent;
  };

  const sign: FaultClient["sign"] = async (slot, id, decision) => {
    const signed = await ask(
      decision,
      slot,
      async () => {
        const person = slot.as("oncall-1");
        const { hold, document } = await person.call("readHold", { params: { id } });
        const claims = { hold: hold.id, digest: digestOfHold(document), decision, at: toTimestamp(Date.now()) };
        const value = await signApproval(createKeySigner(world.keyOf("oncall-1")), claims);
        return person.call("signHold", { params: { id }, body: { decision, signature: { kind: "jws", value } } });
      },
      () => ({ types: [decision === "approve" ? "hold.approved" : "hold.denied"], field: "hold", value: id }),
    );
    if (signed !== null && decision === "deny") history.addCancelled(id);
    return signed !== null;
  };

  const stop = async (
    kind: string,
    slot: Slot,
    types: readonly string[],
    send: (reason: string) => Promise<unknown>,
  ) => {
    const reason = `${kind} ${count++}`;
    const done = await ask(
      kind,
      slot,
      async () => (await send(reason)) ?? true,
      () => ({ types, field: "reason", value: reason }),
    );
    return done !== null;
  };

  return {
    mint,
    call,
    sign,
    renew: async (slot, { grant, agent }) => {
      const renewed = await ask(
        "renew",
        slot,
        () => slot.as(agent).call("renewCredential", { params: { id: grant } }),
        ({ credential: { id } }) => ({ types: ["credential.renewed"], field: "credential", value: id }),
      );
      return renewed !== null;
    },
    release: async (slot, { grant, agent }) => {
      const released = await ask(
        "end a grant",
        slot,
        () => slot.as(agent).call("endGrant", { params: { id: grant } }),
        // One that had ended before is not ended again.
        ({ endedBy }) => (endedBy === agent ? { types: ["grant.released"], field: "grant", value: grant } : null),
      );
      return released !== null;
    },
    cancel: async (slot, id) => {
      const cancelled = await ask(
        "cancel",
        slot,
        () => slot.as("security-1").call("cancelHold", { params: { id }, body: {} }),
        () => ({ types: ["hold.cancelled"], field: "hold", value: id }),
      );
      if (cancelled !== null) history.addCancelled(id);
      return cancelled !== null;
    },
    revoke: (slot, target) =>
      stop(`revoke ${Object.keys(target).join()}`, slot, ["cutoff.created", "grant.revoked"], (reason) =>
        slot.as("security-1").call("revoke", { body: { target, reason } }),
      ),
    freeze: (slot, name) =>
      stop("freeze", slot, ["agent.frozen"], (reason) =>
        slot.as("security-1").call("freeze", { params: { name }, body: { reason } }),
      ),
    unfreeze: (slot, name) =>
      stop("unfreeze", slot, ["agent.unfrozen"], (reason) =>
        slot.as("security-1").call("unfreeze", { params: { name }, body: { reason } }),
      ),
  };
}
