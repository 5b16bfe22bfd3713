// The furthest that this broker was ever told of the store. Every command says it, so that a store which has lost
// something since, or has another past, notices in the same step (`prelude.lua`). Never goes back, and is never forgotten
// while the process lives, whatever server answers.

import type { KnownPlace } from "../../replicas/standing-port.ts";
import { isFurther, wentBack } from "../went-back.ts";
import type { Client } from "./client.ts";

interface Told {
  /** As a command has it. */
  readonly mark: KnownPlace & { readonly look: boolean };
  /** What the script answered, without how far the store is. Throws `store_went_back`. */
  answered(reply: readonly unknown[]): readonly string[];
}

export interface Seen {
  /** For one command. */
  begin(): Told;
  /** What it was told as an earlier process. */
  raise(known: KnownPlace): void;
}

export function createSeen(client: Pick<Client, "on">): Seen {
  let furthest: KnownPlace = { epoch: 0, seq: 0, feed: 0, last: "" };
  /** Rises with each connection: it may be another server, whose past is to be looked at once. */
  let connection = 0;
  let lookedAt = -1;
  client.on("ready", () => void connection++);

  const raise = (known: KnownPlace): void => {
    const { epoch, seq, last } = isFurther(known, furthest) ? known : furthest;
    furthest = { epoch, seq, last, feed: Math.max(known.feed, furthest.feed) };
  };

  return {
    begin: () => {
      const begunOn = connection;
      return {
        mark: { ...furthest, look: lookedAt !== begunOn },
        answered: (reply) => {
          lookedAt = Math.max(lookedAt, begunOn);
          const [answer, epoch, seq, feed, last] = reply;
          if (answer === "went_back") throw wentBack();
          // By `told` in prelude.lua; a refusal says nothing of the store, and is a list of texts.
          if (!Array.isArray(answer)) return reply as readonly string[];
          raise({ epoch: Number(epoch), seq: Number(seq), feed: Number(feed), last: String(last) });
          // A list of texts too.
          return answer as readonly string[];
        },
      };
    },
    raise: (known) => {
      raise(known);
      connection++;
    },
  };
}
