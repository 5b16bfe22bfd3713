// A stand-in for the upstream behind the gateway, as the holds room fires at it: it answers, fails, hangs or cannot be
// reached, as a test says. What policy would give today is decided for real.

import type { HoldId } from "../../src/core/ids.ts";
import type { CallFiring, Fate, Recheck } from "../../src/holds/firing.ts";
import type { StoredHold } from "../../src/holds/hold.ts";
import { decide } from "../../src/policy/decide.ts";
import { withLabels } from "../../src/policy/looked-up.ts";
import type { ScopeSet } from "../../src/scopes/scope-set.ts";
import { CEILINGS, NOTHING_KNOWN, RAIL_ORIGIN } from "./held-world.ts";

/** What it does with the next calls. */
export type Mood = "answers" | "fails" | "hangs" | "unclear" | "unreached";

export interface HeldUpstream {
  mood: Mood;
  /** Its labels cannot be looked up. */
  isAway: boolean;
  origin: string;
  readonly hung: ReadonlyMap<HoldId, unknown>;
  recheck: CallFiring["recheck"];
  fire: CallFiring["fire"];
  /** What hangs is answered. */
  answer(status: number): void;
  /** Nobody waits for answers any more. */
  forget(): void;
}

function answeredWith(status: number): Fate {
  const outcome = { status, body: null };
  return { fate: "answered", outcome, answer: Buffer.from("{}"), milliseconds: 1, scrubbed: 0 };
}

/** `sent` hears of each call that reached it, at that moment. */
export function createHeldUpstream(sent: (id: HoldId) => void): HeldUpstream {
  const hung = new Map<HoldId, (fate: Fate) => void>();
  const upstream: HeldUpstream = {
    mood: "answers",
    isAway: false,
    origin: RAIL_ORIGIN,
    hung,
    recheck: async (hold, scopes) =>
      upstream.isAway
        ? { outcome: "unavailable", why: "the provider is away" }
        : judgeAgain(hold, scopes, upstream.origin),
    fire: async (hold) => {
      if (upstream.mood !== "unreached") sent(hold.id);
      switch (upstream.mood) {
        case "answers":
          return answeredWith(200);
        case "fails":
          return answeredWith(500);
        case "unclear":
          return { fate: "unknown", why: "the connection broke" };
        case "unreached":
          return { fate: "not_sent", why: "nobody listens", cutOff: null };
        case "hangs":
          return new Promise((resolve) => void hung.set(hold.id, resolve));
      }
    },
    answer: (status) => {
      const waiting = [...hung.values()];
      hung.clear();
      for (const resolve of waiting) resolve(answeredWith(status));
    },
    forget: () => hung.clear(),
  };
  return upstream;
}

function judgeAgain({ document }: StoredHold, scopes: ScopeSet, origin: string): Recheck {
  const agent = scopes.principals.get(document.agents.at(-1)?.name ?? "");
  if (agent?.kind !== "Agent" || document.subject.kind !== "call") {
    return { outcome: "refused", reasons: [{ code: "no_role", message: "its agent is gone" }] };
  }
  const permissions = document.permissions.map(({ action, resource }) => ({ action, resource }));
  const asked = { permissions, role: document.role, ttlSeconds: null, isCall: true };
  const decision = decide(asked, agent, scopes, CEILINGS);
  if (decision.outcome === "refused") return { outcome: "refused", reasons: decision.reasons };
  return {
    outcome: "judged",
    document: {
      ...document,
      agents: [{ name: agent.name, owner: agent.owner }],
      permissions: withLabels(decision.permissions, NOTHING_KNOWN, scopes),
      demands: decision.outcome === "held" ? decision.demands : [],
      subject: { ...document.subject, origin },
    },
  };
}
