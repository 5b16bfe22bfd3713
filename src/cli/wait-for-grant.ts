// `valetkey request --wait`: stays until a held grant is active and gets its first credential, or says why there is none.
// Whatever ends the wait, time or Ctrl-C, the request goes on waiting; cancelling is another command. With --json a
// program is told on standard output what was known last.

import type { Grant, GrantAnswer, HeldAnswer } from "../api/grants.ts";
import type { Hold } from "../api/holds.ts";
import { formatDuration } from "../core/duration.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { GrantHeldError, HoldEndedError, RefusedError } from "../sdk/errors.ts";
import { checkHappened } from "../sdk/hold-handle.ts";
import { POLL_SECONDS, pollUntil, withinTime } from "../sdk/long-poll.ts";
import type { Context } from "./context.ts";
import { EXIT, refused } from "./failure.ts";

/** Throws CommandFailure (exit 1) where it will never be active, or is not in time. */
export async function waitForGrant(
  { surroundings, terminal }: Context,
  client: ApiClient,
  { grant, hold }: HeldAnswer,
  timeoutSeconds: number | null,
): Promise<GrantAnswer> {
  const { id } = grant;
  const { argv, clock } = surroundings;
  let last: HeldAnswer = { grant, hold };
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
      const read = async () => {
        const query = { wait: POLL_SECONDS, while: "held" } as const;
        const now = await client.call("readGrant", { params: { id }, query, signal });
        last = { ...last, grant: now };
        return now;
      };
      const now = await pollUntil({ id, clock, ask: read, isOver: ({ status }) => status !== "held", signal });
      if (now.status === "ended") {
        const ended = (await client.call("readHold", { params: { id: hold.id } })).hold;
        last = { grant: now, hold: ended };
        throw refused(sayEnd(now, ended));
      }
      const renew = () => client.call("renewCredential", { params: { id }, signal });
      return pollUntil({ id, clock, ask: renew, isOver: () => true, signal });
    });
  } catch (cause) {
    // A refusal is printed as JSON itself: two documents would be none.
    if (argv.includes("--json") && !(cause instanceof RefusedError)) {
      terminal.json(cause instanceof GrantHeldError ? await readAnew(client, last) : last);
    }
    if (!(cause instanceof GrantHeldError)) throw cause;
    throw refused(`not active after ${formatDuration(timeoutSeconds ?? 0)}: ${stays}`);
  }
}

/** Who has signed in the meantime; where the broker does not say, what was known. */
async function readAnew(client: ApiClient, last: HeldAnswer): Promise<HeldAnswer> {
  return client.call("readHold", { params: { id: last.hold.id } }).then(
    ({ hold }) => ({ ...last, hold }),
    () => last,
  );
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
