// Grants in Redis: each transition is one script. Here is only what travels; what is refused, and in which order, the
// scripts decide. What must wait is in held.ts.

import { BrokerError } from "../../core/errors.ts";
import { type GrantId, type HoldId, makeId } from "../../core/ids.ts";
import type { GrantPort } from "../../grants/grant-port.ts";
import type { GrantReads } from "./grant-reads.ts";
import { grantOf, toGrantOnWire } from "./grant-rows.ts";
import { toDraft } from "./record.ts";
import { grantRefusedOf } from "./refusals.ts";
import { notWrittenOf } from "./replies.ts";
import type { Scripts } from "./scripts.ts";

/** As long as any. */
const LONGEST_IDS = { grant: makeId("grt", 0, "0".repeat(16)) };

export function createGrantPort(
  scripts: Scripts,
  { find, list }: Pick<GrantReads, "find" | "list">,
): Omit<GrantPort, "holdGrant" | "activate"> {
  return {
    issue: async ({ at, proof, limit, grant, event }) => {
      const command = { at, proof, limit, grant: toGrantOnWire(grant), event: toDraft(event, LONGEST_IDS) };
      const reply = await scripts.run("issue", command);
      switch (reply[0]) {
        case "issued": {
          const { random: _, ...draft } = grant;
          const [, id, issuedAt, endsAt] = reply;
          const live = { issuedAt: Number(issuedAt), endsAt: Number(endsAt), endedAt: null, endedBy: null };
          // Made by the script as the id of a grant.
          return { outcome: reply[0], grant: { ...draft, id: id as GrantId, ...live, hold: null, version: 1 } };
        }
        case "exists":
          throw new BrokerError("internal", `expected a new grant, ${reply[1]} exists`);
        default:
          return grantRefusedOf(reply);
      }
    },
    simulate: async ({ at, proof, limit, agent, task, policyDigest, event }) => {
      const command = { at, proof, limit, agent, task, policyDigest, event: toDraft(event) };
      const reply = await scripts.run("simulate", command);
      return reply[0] === "simulated" ? { outcome: reply[0], instant: Number(reply[1]) } : grantRefusedOf(reply);
    },
    renew: async ({ at, proof, id, agent, policyDigest, event }) => {
      const reply = await scripts.run("renew", { at, proof, id, agent, policyDigest, event: toDraft(event) });
      switch (reply[0]) {
        case "renewed":
          return { outcome: reply[0], grant: grantOf(id, reply.slice(2)), instant: Number(reply[1]) };
        case "not_found":
        case "ended":
          return { outcome: reply[0] };
        case "held_back":
          // The id of a hold, by `write_grant`.
          return { outcome: reply[0], hold: reply[1] as HoldId };
        default:
          return grantRefusedOf(reply);
      }
    },
    release: async ({ at, proof, id, agent, event }) => {
      const reply = await scripts.run("release", { at, proof, id, agent, event: toDraft(event) });
      switch (reply[0]) {
        case "released":
        case "already_ended":
          return { outcome: reply[0], grant: grantOf(id, reply.slice(1)) };
        case "not_found":
          return { outcome: reply[0] };
        case "held_back":
          // The id of a hold, by `write_grant`.
          return { outcome: reply[0], hold: reply[1] as HoldId };
        default:
          return notWrittenOf(reply);
      }
    },
    find,
    list,
  };
}
