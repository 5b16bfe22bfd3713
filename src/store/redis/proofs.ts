// Proofs of identity in Redis, for reads: one use, whatever it is used for and by whichever broker. The script decides;
// nothing of it is remembered in this process.

import { BrokerError } from "../../core/errors.ts";
import type { ProofPort } from "../../identity/proof-port.ts";
import { unknownReply } from "./replies.ts";
import type { Scripts } from "./scripts.ts";

export function createProofPort(scripts: Scripts): ProofPort {
  return {
    consume: async (proof, at) => {
      const reply = await scripts.run("consume", { proof, at });
      switch (reply[0]) {
        case "consumed":
          return true;
        case "seen":
          return false;
        case "full":
          throw tooMany("");
        case "share_full":
          throw tooMany(`of ${proof.key.split(" ", 1)[0]} `);
        default:
          throw unknownReply(reply);
      }
    },
  };
}

function tooMany(whose: string): BrokerError {
  return new BrokerError("limit_reached", `too many proofs of identity ${whose}are alive: ask less often`, {
    retryAfterSeconds: 60,
  });
}
