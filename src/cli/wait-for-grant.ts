// `valetkey request --wait`: stays until a held grant is active and gets its first credential, or says why there is none.
// Whatever ends the wait, time or Ctrl-C, the request goes on waiting; cancelling is another command.

import type { Grant, GrantAnswer, HeldAnswer } from "../api/grants.ts";
import type { Hold } from "../api/holds.ts";
import { formatDuration } from "../core/duration.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { GrantHeldError, HoldEndedError } from "../sdk/errors.ts";
import { checkHappened } from "../sdk/hold-handle.ts";
import { POLL_SECONDS, pollUntil, withinTime } from "../sdk/long-poll.ts";
import type { Context } from "./context.ts";
import { EXIT, refused } from "./failure.ts";

/** Throws CommandFailure (exit 1) where it will never be active, or is not in time. */
export async function waitForGrant(
  { surroundings }: Context,
  client: ApiClient,
  { grant, hold }: HeldAnswer,
  timeoutSeconds: number | null,
): Promise<GrantAnswer> {
  const { id } = grant;
  const { clock } = surroundings;
  const stays = `it goes on waiting; stop it with: valetkey cancel ${hold.id}`;
  const stopped = new AbortController();
  surroundings.onSignal("SIGINT", () => {
    if (stopped.signal.aborted) return surroundings.exit(EXIT.refused);
    stopped.abort(refused(`stopped; ${stays}`));
  });
  const late = () => new GrantHeldError(id, hold.id, "time is up");
  const timeoutMs = timeoutSeconds === null ? undefined : timeoutSeconds * 1000;
  try {
    return await withinTime({ signal: stopped.signal, timeoutMs, late }, async (signal) => {
      const read = () =>
        client.call("readGrant", { params: { id }, query: { wait: POLL_SECONDS, while: "held" }, signal });
      const now = await pollUntil({ id, clock, ask: read, isOver: ({ status }) => status !== "held", signal });
      if (now.status === "ended")
        throw refused(sayEnd(now, (await client.call("readHold", { params: { id: hold.id } })).hold));
      const renew = () => client.call("renewCredential", { params: { id }, signal });
      return pollUntil({ id, clock, ask: renew, isOver: () => true, signal });
    });
  } catch (cause) {
    if (!(cause instanceof GrantHeldError)) throw cause;
    throw refused(`not active after ${formatDuration(timeoutSeconds ?? 0)}: ${stays}`);
  }
}

function sayEnd({ id, endedBy }: Grant, hold: Hold): string {
  try {
    checkHappened(hold);
  } catch (cause) {
    if (cause instanceof HoldEndedError) return cause.message;
    throw cause;
  }
  return `grant ${id} became active and is over: ended by ${endedBy ?? "the broker"}`;
}
