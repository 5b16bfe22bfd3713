// What many commands that were sent at once were answered. Never half of it.

import { BrokerError } from "../../core/errors.ts";
import type { Client } from "./scripts.ts";

/** Throws where one of the commands has failed. */
export async function answersOf(batch: ReturnType<Client["pipeline"]>): Promise<unknown[]> {
  const results = await batch.exec();
  if (results === null) throw new BrokerError("internal", "the store answered none of what it was asked at once");
  return results.map(([failed, answer]) => {
    if (failed !== null) throw failed;
    return answer;
  });
}
