// A Redis store that went backwards: what brokers know of it, held against what it is, by its scripts.

import { makeId } from "../../core/ids.ts";
import { toTimestamp } from "../../core/clock.ts";
import type { Standing, StandingPort } from "../../replicas/standing-port.ts";
import { wentBackOf } from "../went-back.ts";
import { cutOffOf, textOf } from "./cutoff-rows.ts";
import { toDraft } from "./record.ts";
import { unknownReply } from "./replies.ts";
import type { Reply, Scripts } from "./scripts.ts";
import type { Seen } from "./seen.ts";

/** As long as any. */
const LONGEST_IDS = { revocation: makeId("rev", 0, "0".repeat(16)), before: toTimestamp(0) };

export function createStandingPort(scripts: Scripts, seen: Seen): StandingPort {
  const restoredOf = (reply: Reply): boolean => {
    switch (reply[0]) {
      case "restored":
        return true;
      case "there":
      case "over":
      case "not_needed":
        return false;
      default:
        throw unknownReply(reply);
    }
  };

  return {
    standing: async () => {
      const reply = await scripts.run("standing", {});
      if (reply[0] !== "standing") throw unknownReply(reply);
      return standingOf(reply);
    },
    trust: async (known, at) => {
      seen.raise(known);
      // By itself too: it may lie before what this process was told already, and be of another past.
      await scripts.run("standing", { at, known: { ...known, look: true } });
    },
    markWentBack: async (known, at) => {
      const reply = await scripts.run("mark_went_back", { known, at });
      if (reply[0] !== "marked" && reply[0] !== "recovered") throw unknownReply(reply);
    },
    restoreCutOff: async ({ at, epoch, feed, cutOff, event }) => {
      const { id, before, keptUntil, closed, target } = cutOff;
      const kept = { id, before, keptUntil, closed, target };
      const command = { at, epoch, feed, cutOff: kept, text: textOf(cutOff), event: toDraft(event) };
      return restoredOf(await scripts.run("restore_cut_off", command));
    },
    restoreFreeze: async ({ at, epoch, agent, revocation, event }) =>
      restoredOf(await scripts.run("restore_cut_off", { at, epoch, agent, revocation, event: toDraft(event) })),
    recover: async ({ cutOff: { at, proof, random, event, ...cut }, known, keepUntil, event: recovered }) => {
      const reply = await scripts.run("recover", {
        at,
        proof,
        random,
        known,
        keepUntil,
        target: cut.target,
        text: textOf(cut),
        event: toDraft(event, LONGEST_IDS),
        recovered: toDraft(recovered, LONGEST_IDS),
      });
      switch (reply[0]) {
        case "recovered":
          return {
            outcome: reply[0],
            cutOff: cutOffOf(reply[1] ?? "", reply[2] ?? ""),
            epoch: Number(reply[3]),
            proofsAfter: Number(reply[4]),
          };
        case "not_needed":
        case "proof_replayed":
          return { outcome: reply[0] };
        default:
          throw unknownReply(reply);
      }
    },
  };
}

/** `standing went_back recovered_at instant latest_expiry epoch seq`. */
function standingOf([, wentBack = "", ...numbers]: Reply): Standing {
  const [recoveredAt = 0, instant = 0, latestExpiry = 0, epoch = 0, seq = 0] = numbers.map(Number);
  return { epoch, seq, recoveredAt, instant, latestExpiry, wentBack: wentBack === "" ? null : wentBackOf(wentBack) };
}
