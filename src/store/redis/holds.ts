// Holds in Redis: each change is one script, compare-and-set on the version; what a hold may become was decided before, by
// the reducer. Sealed bytes travel as base64 text. Never decides what is due or over.

import { BrokerError } from "../../core/errors.ts";
import { makeId } from "../../core/ids.ts";
import type { HoldPort, HoldState, StoredAttestation } from "../../holds/hold-port.ts";
import type { HoldReads } from "./hold-reads.ts";
import { attestationOf, holdOfReply, toAttestationOnWire } from "./hold-rows.ts";
import { toDraft } from "./record.ts";
import { notClaimedOf } from "./refusals.ts";
import { notWrittenOf, toBytes, toText, unknownReply } from "./replies.ts";
import type { Client, Reply, Scripts } from "./scripts.ts";

/** What only a claim leads to. */
const FIRED: ReadonlySet<HoldState> = new Set(["firing", "done", "failed", "unknown"]);
/** As long as any. */
const LONGEST_IDS = { attestation: makeId("att", 0, "0".repeat(16)) };

export function createHoldPort(
  client: Client,
  scripts: Scripts,
  base: string,
  reads: Omit<HoldReads, "countCancelledHolds">,
): HoldPort {
  /** What a statement has left to wake, also one of a broker that has gone since. Answers how many were waiting. */
  async function wakeAll(): Promise<number> {
    let holds = 0;
    for (const resource of await client.hkeys(`${base}wakings`)) {
      for (let isMore = true; isMore;) {
        const reply = await scripts.run("wake", { resource, at: 0 });
        if (reply[0] !== "more" && reply[0] !== "woken") throw unknownReply(reply);
        holds += Number(reply[1]);
        isMore = reply[0] === "more";
      }
    }
    return holds;
  }

  return {
    ...reads,
    dueHolds: async (at, limit) => {
      await wakeAll();
      return reads.dueHolds(at, limit);
    },
    changeHold: async ({ at, proof, id, version, to, approval, wakeAt, keepUntil, event }) => {
      if (to !== null && FIRED.has(to.state))
        throw new BrokerError("internal", `a hold becomes ${to.state} by a claim, not by a change`);
      const reply = await scripts.run("change_hold", {
        at,
        proof,
        id,
        version,
        to,
        approval: approval === null ? null : { person: approval.person, text: JSON.stringify(approval) },
        wakeAt,
        keepUntil,
        event: event === null ? null : toDraft(event),
      });
      switch (reply[0]) {
        case "changed":
          return { outcome: reply[0], hold: holdOfReply(reply.slice(2)), instant: Number(reply[1]) };
        case "conflict":
          return { outcome: reply[0] };
        default:
          return notWrittenOf(reply);
      }
    },
    claim: async ({ at, id, version, policyDigest, notBefore, lease, event }) => {
      // What is no number is never.
      const earliest = Number.isFinite(notBefore) ? notBefore : null;
      const command = { at, id, version, policyDigest, notBefore: earliest, lease, event: toDraft(event) };
      const reply = await scripts.run("claim", command);
      return reply[0] === "claimed"
        ? { outcome: reply[0], hold: holdOfReply(reply.slice(2)), instant: Number(reply[1]) }
        : notClaimedOf(reply);
    },
    settle: async ({ at, id, token, to, wakeAt, outcome, sealedOutcome, event }) => {
      const reply = await scripts.run("settle", {
        at,
        id,
        token,
        to,
        wakeAt,
        outcome: outcome === null ? null : JSON.stringify(outcome),
        sealedOutcome: sealedOutcome === null ? null : toText(sealedOutcome),
        event: toDraft(event),
      });
      switch (reply[0]) {
        case "settled":
          return { outcome: reply[0], hold: holdOfReply(reply.slice(1)) };
        case "conflict":
          return { outcome: reply[0] };
        default:
          throw unknownReply(reply);
      }
    },
    takeOutcome: async ({ at, proof, id, event }) => {
      const reply = await scripts.run("take_outcome", { at, proof, id, event: toDraft(event) });
      switch (reply[0]) {
        case "taken":
          return { outcome: reply[0], hold: holdOfReply(reply.slice(2)), sealed: toBytes(reply[1] ?? "") };
        case "not_found":
          return { outcome: reply[0] };
        default:
          return notWrittenOf(reply);
      }
    },
    attest: async ({ at, proof, agent, attestations }) => {
      const statements = attestations.map(({ attestation, event }) => ({
        ...toAttestationOnWire(attestation),
        event: toDraft(event, LONGEST_IDS),
      }));
      const reply = await scripts.run("attest", { at, proof, agent, attestations: statements });
      switch (reply[0]) {
        case "attested":
          return {
            outcome: reply[0],
            attestations: attestationsOf(reply),
            holds: Number(reply[1]) + (await wakeAll()),
          };
        case "agent_frozen":
          return { outcome: reply[0] };
        default:
          return notWrittenOf(reply);
      }
    },
  };
}

/** `attested holds`, then id and text of each. */
function attestationsOf([, , ...pairs]: Reply): StoredAttestation[] {
  const found: StoredAttestation[] = [];
  for (let i = 0; i + 1 < pairs.length; i += 2) found.push(attestationOf(pairs[i] ?? "", pairs[i + 1] ?? ""));
  return found;
}
