// Revocation and policy in Redis. What only stops things is never refused for a clock; every answer of a transition is
// what its script decided.

import { type Instant, toTimestamp } from "../../core/clock.ts";
import type { CutOff } from "../../core/cutoff.ts";
import { makeId } from "../../core/ids.ts";
import type { CutOffCommand, GrantShape, RevocationPort, StoredCutOff } from "../../revocation/revocation-port.ts";
import { isForgotten } from "../cutoff-index.ts";
import { cutOffOf, textOf } from "./cutoff-rows.ts";
import type { CutOffView } from "./cutoff-view.ts";
import { toDraft } from "./record.ts";
import { notWrittenOf, unknownReply } from "./replies.ts";
import type { Client, Reply, Scripts } from "./scripts.ts";

/** What a revocation met, and what a policy would narrow: answered where grants and holds are read. */
export interface MetReads {
  readonly countMetGrants: (cutOff: CutOff, at: Instant) => Promise<number>;
  readonly countCancelledHolds: RevocationPort["countCancelled"];
  readonly liveShapes: (policyDigest: string, at: Instant) => Promise<readonly GrantShape[]>;
}

/** As long as any. */
const LONGEST_IDS = { revocation: makeId("rev", 0, "0".repeat(16)), before: toTimestamp(0) };

export function createRevocationPort(
  client: Client,
  scripts: Scripts,
  base: string,
  view: CutOffView,
  { countMetGrants, countCancelledHolds, liveShapes }: MetReads,
): RevocationPort {
  const stop = (name: string, { at, proof, random, event, ...cut }: CutOffCommand & { readonly agent?: string }) =>
    scripts.run(name, {
      at,
      proof,
      random,
      target: cut.target,
      text: textOf(cut),
      agent: cut.agent,
      event: toDraft(event, LONGEST_IDS),
    });

  return {
    cutOff: async (command) => {
      const reply = await stop("cut_off", command);
      switch (reply[0]) {
        case "cut_off":
          return { outcome: reply[0], cutOff: writtenOf(reply) };
        case "proof_replayed":
          return { outcome: reply[0] };
        default:
          throw unknownReply(reply);
      }
    },
    freeze: async (command) => {
      const reply = await stop("freeze", command);
      switch (reply[0]) {
        case "frozen":
          return { outcome: reply[0], cutOff: writtenOf(reply) };
        case "proof_replayed":
          return { outcome: reply[0] };
        default:
          throw unknownReply(reply);
      }
    },
    unfreeze: async ({ at, proof, agent, event }) => {
      const reply = await scripts.run("unfreeze", { at, proof, agent, event: toDraft(event) });
      switch (reply[0]) {
        case "unfrozen":
        case "not_frozen":
          return { outcome: reply[0], instant: Number(reply[1]) };
        default:
          return notWrittenOf(reply);
      }
    },
    reopen: async ({ at, proof, id, event }) => {
      const reply = await scripts.run("reopen", { at, proof, id, event: toDraft(event) });
      switch (reply[0]) {
        case "reopened":
        case "not_closed":
          return { outcome: reply[0], cutOff: writtenOf(reply) };
        case "not_found":
          return { outcome: reply[0] };
        default:
          return notWrittenOf(reply);
      }
    },

    findCutOff: async (id) => {
      const number = await client.hget(`${base}cutoff_ids`, id);
      if (number === null) return null;
      const [row, instant] = await Promise.all([
        client.hget(`${base}cutoffs`, number),
        client.hget(`${base}meta`, "instant"),
      ]);
      const found = row === null ? null : cutOffOf(number, row);
      return found === null || isForgotten(found, Number(instant ?? 0)) ? null : found;
    },
    snapshot: async (at) => {
      // In this order: what comes between has a number above the first, or stops more.
      const [number, frozen, retiredKeys, { all }] = await Promise.all([
        client.hget(`${base}meta`, "feed_number").then(Number),
        client.hkeys(`${base}frozen`),
        client.zrange(`${base}retired_keys`, 0, "-1"),
        view.current(),
      ]);
      const cutOffs = all.filter((each) => each.number <= number && !isForgotten(each, at));
      return { number, cutOffs, frozen: frozen.toSorted(), retiredKeys };
    },
    countMet: countMetGrants,
    countCancelled: countCancelledHolds,
    liveShapes,

    activatePolicy: async ({ at, proof, digest, replaces, event }) => {
      // What is null is not sent.
      const given = replaces === undefined ? {} : { replaces: replaces ?? "" };
      const reply = await scripts.run("activate_policy", { at, proof, digest, ...given, event: toDraft(event) });
      switch (reply[0]) {
        case "activated":
          return { outcome: reply[0], instant: Number(reply[1]) };
        case "conflict":
          return { outcome: reply[0], digest: textOrNull(reply[1]) };
        default:
          return notWrittenOf(reply);
      }
    },
    markSwept: async (digest) => void (await scripts.run("mark_swept", { digest })),
    policyInForce: async () => {
      const [digest, swept] = await client.hmget(`${base}meta`, "policy_digest", "policy_swept");
      return { digest: textOrNull(digest), swept: textOrNull(swept) };
    },
  };
}

/** `outcome number row`. */
function writtenOf([, number = "", row = ""]: Reply): StoredCutOff {
  return cutOffOf(number, row);
}

function textOrNull(value: string | null | undefined): string | null {
  return value === undefined || value === "" ? null : value;
}
