// The transitions that make holds, of a grant and of a call, and the one by which a held grant becomes active. Here is only
// what travels; what is refused, and in which order, the scripts decide.

import { makeId } from "../../core/ids.ts";
import type { CallPort } from "../../gateway/call-port.ts";
import { BrokerError } from "../../core/errors.ts";
import type { GrantPort } from "../../grants/grant-port.ts";
import { grantOf, GRANT_TEXTS, toGrantOnWire } from "./grant-rows.ts";
import { holdOfReply, newHoldOf, toHoldOnWire } from "./hold-rows.ts";
import { toDraft } from "./record.ts";
import { callRefusedOf, grantRefusedOf, holdRefusedOf, notClaimedOf } from "./refusals.ts";
import type { Reply, Scripts } from "./scripts.ts";

type HeldPort = Pick<GrantPort, "holdGrant" | "activate"> & Pick<CallPort, "holdCall">;

export function createHeldPort(scripts: Scripts): HeldPort {
  return {
    holdGrant: async ({ at, proof, limit, grant, hold, event }) => {
      const id = makeId("grt", at, grant.random);
      if (hold.hold.document.grant !== id)
        throw new BrokerError("internal", "a hold of a grant names another grant than its own");
      const reply = await scripts.run("hold_grant", {
        at,
        proof,
        limit,
        grant: toGrantOnWire(grant),
        hold: toHoldOnWire(hold, at),
        event: toDraft(event),
      });
      switch (reply[0]) {
        case "held": {
          const { random: _, ...draft } = grant;
          const unborn = { issuedAt: at, endsAt: 0, endedAt: null, endedBy: null, hold: hold.hold.id, version: 1 };
          return {
            outcome: reply[0],
            grant: { ...draft, id, ...unborn },
            hold: newHoldOf(hold.hold, Number(reply[1])),
          };
        }
        case "existing":
          return { outcome: reply[0], ...grantAndHoldOf(reply) };
        default:
          return holdRefusedOf(reply) ?? grantRefusedOf(reply);
      }
    },
    activate: async ({ at, id, version, policyDigest, notBefore, event }) => {
      // What is no number is never.
      const earliest = Number.isFinite(notBefore) ? notBefore : null;
      const command = { at, id, version, policyDigest, notBefore: earliest, event: toDraft(event) };
      const reply = await scripts.run("activate", command);
      return reply[0] === "activated" ? { outcome: reply[0], ...grantAndHoldOf(reply) } : notClaimedOf(reply);
    },
    holdCall: async ({ at, grant, agent, policyDigest, uses, limit, hold, event }) => {
      const reply = await scripts.run("hold_call", {
        at,
        grant,
        agent,
        policyDigest,
        uses,
        limit,
        hold: toHoldOnWire(hold, at),
        event: toDraft(event),
      });
      switch (reply[0]) {
        case "held":
          return { outcome: reply[0], hold: newHoldOf(hold.hold, Number(reply[1])) };
        case "existing":
          return { outcome: reply[0], hold: holdOfReply(reply.slice(1)) };
        default:
          return holdRefusedOf(reply) ?? callRefusedOf(reply);
      }
    },
  };
}

/** `outcome`, the grant, its hold. */
function grantAndHoldOf(reply: Reply) {
  const hold = holdOfReply(reply.slice(1 + GRANT_TEXTS));
  return { grant: grantOf(hold.document.grant, reply.slice(1, 1 + GRANT_TEXTS)), hold };
}
