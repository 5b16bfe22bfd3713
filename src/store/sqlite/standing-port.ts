// A file that went backwards, on the main thread: the writer decides; what this process has seen of proofs follows.

import type { StandingPort } from "../../replicas/standing-port.ts";
import type { SeenProofs } from "./seen-proofs.ts";
import { spend } from "./spend.ts";
import type { Thread } from "./thread.ts";
import type { WriterCalls } from "./writer.ts";

export function createStandingPort(writer: Thread<WriterCalls>, seen: SeenProofs): StandingPort {
  return {
    standing: () => writer.call("standing", undefined),
    trust: async (known, at) => void (await writer.call("trust", { known, at })),
    markWentBack: async (known, at) => void (await writer.call("markWentBack", { known, at })),
    restoreCutOff: (command) => writer.call("restoreCutOff", command, "first"),
    restoreFreeze: (command) => writer.call("restoreFreeze", command, "first"),
    async recover(command) {
      const { at, proof } = command.cutOff;
      const done = await spend(seen, { at, proof }, () => writer.call("recover", command));
      if (done.outcome === "recovered") seen.refuseUntil(done.proofsAfter);
      return done;
    },
  };
}
