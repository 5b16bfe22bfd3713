// The layout of the keys, by its version; docs/redis.md describes it. A store that a newer version has laid out is not
// opened: this one would read and write it wrongly.

import { BrokerError } from "../../core/errors.ts";
import { unknownReply } from "./replies.ts";
import type { Scripts } from "./scripts.ts";

/** What changes the layout raises it, and has a script that makes the one before into it, a page of rows at a time. */
export const LAYOUT = 1;

/** True when nothing had been recorded or sealed in it. Throws `store_unavailable` for a newer layout. */
export async function openLayout(scripts: Scripts): Promise<boolean> {
  const reply = await scripts.run("open", { layout: LAYOUT });
  if (reply[0] !== "empty" && reply[0] !== "used") throw unknownReply(reply);
  const found = Number(reply[1]);
  if (found !== LAYOUT) {
    throw new BrokerError(
      "store_unavailable",
      `the store has layout ${found} and this version of Valetkey knows ${LAYOUT}: start the version that made it, or a newer one`,
    );
  }
  return reply[0] === "empty";
}
