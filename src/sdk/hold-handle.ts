// A hold in an agent's hands: what it waits for, when it has ended, and once what the upstream answered to a held call.
// It never sends the call again: what became of it is read from the broker, and said where nobody can know.

import { createHash } from "node:crypto";
import type { Hold as HoldBody, OutcomeAnswer } from "../api/holds.ts";
import type { Clock } from "../core/clock.ts";
import { isId } from "../core/ids.ts";
import type { ApiClient } from "./api-client.ts";
import { BrokerUnreachableError, HoldEndedError, OutcomeGoneError, RefusedError, ValetkeyError } from "./errors.ts";
import { POLL_SECONDS, pollUntil, type WaitOptions } from "./long-poll.ts";

export interface HoldHandle {
  readonly id: string;
  /** As the broker last described it: `missing` says what it waits for, `firesAt` when it fires at the earliest. */
  readonly info: HoldBody;
  /** Resolves when it has ended, whichever way: `state` says which. */
  whenEnded(options?: WaitOptions): Promise<HoldBody>;
  /**
   * Waits, then gives what the upstream answered to the call; the broker hands it out once. Throws HoldEndedError where
   * the call was not made or nobody knows, OutcomeGoneError where the answer is not there any more.
   */
  response(options?: WaitOptions): Promise<Response>;
  /** Nothing has happened yet, and nothing will. Throws RefusedError `conflict` where it fired or ended before. */
  cancel(reason?: string): Promise<void>;
}

/** Fetch standard section 2.2.3: with these a Response has no body. */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** Reads it, across outages. Throws RefusedError `not_found` where it is not this agent's, ValetkeyError where it is no id. */
export async function openHold(
  api: ApiClient,
  clock: Clock,
  id: string,
  options: WaitOptions = {},
): Promise<HoldHandle> {
  checkHoldId(id);
  const { signal } = options;
  const ask = () => api.call("readHold", { params: { id }, signal });
  const { hold } = await pollUntil({ id, clock, ask, isOver: () => true, signal });
  return createHoldHandle(api, clock, hold);
}

/** What was found is not repeated: it may be a credential that was put in the wrong place. */
function checkHoldId(id: string): void {
  // Callers in JavaScript give anything.
  if (typeof id === "string" && isId("hld", id)) return;
  const found = typeof id !== "string" ? typeof id : isId("grt", id) ? "the id of a grant" : "another text";
  throw new ValetkeyError(
    `expected the id of a hold like 'hld_01J…', found ${found}; a held grant has it as its \`hold\``,
  );
}

/** Resolves when it has ended. */
export async function pollHold(api: ApiClient, clock: Clock, id: string, options: WaitOptions): Promise<HoldBody> {
  const { signal } = options;
  const ask = async () => (await api.call("readHold", { params: { id }, query: { wait: POLL_SECONDS }, signal })).hold;
  return pollUntil({ id, clock, ask, isOver: ({ state }) => !isLive(state), signal });
}

function createHoldHandle(api: ApiClient, clock: Clock, hold: HoldBody): HoldHandle {
  const { id } = hold;
  let info = hold;

  async function whenEnded(options: WaitOptions = {}): Promise<HoldBody> {
    if (isLive(info.state)) info = await pollHold(api, clock, id, options);
    return info;
  }

  async function response(options: WaitOptions = {}): Promise<Response> {
    if (info.kind !== "call") throw new ValetkeyError(`hold ${id} is a grant's: await its whenActive()`);
    const ended = await whenEnded(options);
    const { outcome } = ended;
    checkHappened(ended);
    if (outcome === null) throw new OutcomeGoneError(id, { status: null, body: null });
    if (!outcome.readable) throw new OutcomeGoneError(id, outcome);
    const { signal } = options;
    const ask = () => api.call("readOutcome", { params: { id }, signal });
    try {
      const answer = await pollUntil({ id, clock, ask, isOver: () => true, signal });
      info = { ...ended, outcome: { ...outcome, readable: false } };
      return responseOf(answer, outcome.body?.sha256 ?? null);
    } catch (cause) {
      if (isGone(cause)) throw new OutcomeGoneError(id, outcome, cause);
      throw cause;
    }
  }

  async function cancel(reason?: string): Promise<void> {
    info = await api.call("cancelHold", { params: { id }, body: reason === undefined ? {} : { reason } });
  }

  return Object.freeze({
    id,
    get info() {
      return info;
    },
    whenEnded,
    response,
    cancel,
  });
}

/** Throws HoldEndedError where a hold that has ended gave nothing. */
export function checkHappened({ id, state, endedBy, why }: HoldBody): void {
  switch (state) {
    case "done":
    case "failed":
      return;
    case "denied":
    case "cancelled":
    case "expired":
    case "stale":
    case "unknown":
      throw new HoldEndedError({ hold: id, state, endedBy, why });
    case "waiting":
    case "ready":
    case "firing":
      throw new ValetkeyError(`hold ${id} has not ended: it is ${state}`);
  }
}

function isLive(state: HoldBody["state"]): boolean {
  return state === "waiting" || state === "ready" || state === "firing";
}

/** Read by somebody else, by a request of this one whose answer was lost, or read and of no use. */
function isGone(cause: unknown): boolean {
  if (cause instanceof RefusedError) return cause.status === 404;
  return cause instanceof BrokerUnreachableError && cause.kind === "unexpected_answer";
}

/** As `fetch` would have given it. */
function responseOf({ status, headers, body, sha256 }: OutcomeAnswer, recorded: string | null): Response {
  const bytes = Buffer.from(body, "base64");
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== sha256 || digest !== (recorded ?? sha256)) throw unusable("its digest is another", status);
  try {
    return new Response(WITHOUT_BODY.has(status) ? null : bytes, { status, headers });
  } catch {
    // Without its cause: the error's text would quote a header.
    throw unusable("its status or headers are not HTTP", status);
  }
}

function unusable(why: string, status: number): BrokerUnreachableError {
  return new BrokerUnreachableError("unexpected_answer", `the outcome cannot be used: ${why}`, { status });
}
