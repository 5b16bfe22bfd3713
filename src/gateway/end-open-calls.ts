// After a start: calls that an earlier process began and never ended.

import type { Instant } from "../core/clock.ts";
import { drawRandomPart } from "../core/ids.ts";
import type { CallPort } from "./call-port.ts";

const PAGE = 500;

/** What an earlier process sent and never heard of: nobody knows what became of it (rule 32). */
export async function endOpenCalls(port: CallPort, at: () => Instant, policy: () => string): Promise<void> {
  for (let open = await port.openCalls(PAGE); open.length > 0; open = await port.openCalls(PAGE)) {
    for (const { call, fields } of open) {
      const event = { ...fields, type: "call.unknown", cause: "the broker stopped before it knew", policy: policy() };
      await port.endCall({ at: at(), call, event: { random: drawRandomPart(), fields: event } });
    }
  }
}
