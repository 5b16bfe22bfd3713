// Gateway calls in Redis: each transition is one script. An open call is known by the number of the entry that began it; its
// fields are read where they stand, in the record, and kept nowhere else.

import { BrokerError } from "../../core/errors.ts";
import type { RequestId } from "../../core/ids.ts";
import { PLACED_FIELDS } from "../../core/leaf.ts";
import type { CallPort } from "../../gateway/call-port.ts";
import { answersOf } from "./answers.ts";
import { findOrphaned } from "./presence.ts";
import { toDraft } from "./record.ts";
import { callRefusedOf } from "./refusals.ts";
import { unknownReply } from "./replies.ts";
import type { Client, Scripts } from "./scripts.ts";

type OpenCall = Awaited<ReturnType<CallPort["openCalls"]>>[number];
/** Id and values of each. */
type Entries = readonly (readonly [string, readonly string[]])[];

/** Of entries, in one round trip: each is at most 64 KiB. */
const READ_EACH = 100;

export function createCallPort(client: Client, scripts: Scripts, base: string): Omit<CallPort, "holdCall"> {
  /** An entry moves from `drafts` to `record` and never back: looked for in this order, it is found. */
  async function readOpen(calls: readonly { readonly call: RequestId; readonly seq: string }[]): Promise<OpenCall[]> {
    const batch = client.pipeline();
    for (const { seq } of calls) {
      batch.xrange(`${base}drafts`, `${seq}-0`, `${seq}-0`);
      batch.xrange(`${base}record`, `${seq}-0`, `${seq}-0`);
    }
    // Each answer is that of an XRANGE.
    const answers = (await answersOf(batch)) as Entries[];
    return calls.map(({ call, seq }, i) => {
      const text = valueOf(answers[2 * i], "fields") ?? valueOf(answers[2 * i + 1], "leaf");
      if (text === undefined)
        throw new BrokerError("store_unavailable", `entry ${seq} of the record is not there; restore a backup`);
      // An entry of the record is an object.
      const fields = { ...(JSON.parse(text) as Record<string, unknown>) };
      for (const name of PLACED_FIELDS) delete fields[name];
      return { call, fields };
    });
  }

  return {
    beginCall: async ({ at, call, grant, agent, policyDigest, uses, limit, event }) => {
      const command = { at, call, grant, agent, policyDigest, uses, limit, event: toDraft(event) };
      const reply = await scripts.run("begin_call", command);
      switch (reply[0]) {
        case "begun":
          return { outcome: reply[0], instant: Number(reply[1]) };
        case "exists":
          throw new BrokerError("internal", `expected a new call, ${reply[1]} is open`);
        default:
          return callRefusedOf(reply);
      }
    },
    endCall: async ({ at, call, event }) => {
      const reply = await scripts.run("end_call", { at, call, event: toDraft(event) });
      switch (reply[0]) {
        case "ended":
          return true;
        case "not_open":
          return false;
        default:
          throw unknownReply(reply);
      }
    },
    openCalls: async (limit) => {
      const found: OpenCall[] = [];
      for (let skip = 0; found.length < limit; skip += READ_EACH) {
        const page = ["-inf", "+inf", "WITHSCORES", "LIMIT", skip, READ_EACH] as const;
        const pairs = await client.zrangebyscore(`${base}open_calls`, ...page);
        if (pairs.length === 0) break;
        const calls: { readonly call: RequestId; readonly seq: string }[] = [];
        for (let i = 0; i + 1 < pairs.length; i += 2) {
          // Kept by `begin_call.lua`: a request's id, and a number.
          calls.push({ call: pairs[i] as RequestId, seq: String(pairs[i + 1]) });
        }
        const brokers = await client.hmget(`${base}open_call_brokers`, ...calls.map(({ call }) => call));
        const orphaned = await findOrphaned(
          scripts,
          calls.map((each, i) => [each, brokers[i] ?? null] as const),
        );
        found.push(...(await readOpen(orphaned.slice(0, limit - found.length))));
      }
      return found;
    },
  };
}

function valueOf(entries: Entries | undefined, name: string): string | undefined {
  const values = entries?.[0]?.[1] ?? [];
  for (let i = 0; i + 1 < values.length; i += 2) if (values[i] === name) return values[i + 1];
  return undefined;
}
