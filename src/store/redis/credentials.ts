// Credentials that other systems accept, in Redis: each change is one script, compare-and-set on the version. What is kept of
// one is its JSON, made here; the scripts read its version, its state and when it is due.

import { BrokerError } from "../../core/errors.ts";
import type { GrantId } from "../../core/ids.ts";
import type { CredentialPort, StoredCredential } from "../../credentials/credential-port.ts";
import { openedAgain } from "../ordered-credential.ts";
import { toDraft } from "./record.ts";
import { callRefusedOf } from "./refusals.ts";
import { splitRow, unknownReply } from "./replies.ts";
import type { Client, Scripts } from "./scripts.ts";

/** Others may change the row between its being read and the script; more often than this it is not that. */
const MAX_TRIES = 20;

export function createCredentialPort(client: Client, scripts: Scripts, base: string): CredentialPort {
  async function find(grant: GrantId): Promise<StoredCredential | null> {
    const row = await client.hget(`${base}credentials`, grant);
    return row === null ? null : credentialOf(row);
  }
  async function findAll(grants: readonly string[]): Promise<readonly StoredCredential[]> {
    if (grants.length === 0) return [];
    const rows = await client.hmget(`${base}credentials`, ...grants);
    // One that has gone since its id was read is not there any more.
    return rows.flatMap((row) => (row === null ? [] : [credentialOf(row)]));
  }

  return {
    orderCredential: async ({ at, agent, policyDigest, credential: ordered, event }) => {
      const { grant } = ordered;
      for (let tries = 1; tries <= MAX_TRIES; tries++) {
        const found = await find(grant);
        // Whether it is free at the store's own instant is for the script to say.
        const made = openedAgain(found === null ? null : { ...found, state: "live" }, ordered, at);
        if (made === null) throw new BrokerError("internal", "a live credential can be ordered again");
        const seen_version = found?.version ?? 0;
        const asked = { at, grant, agent, policyDigest, event: toDraft(event), seen_version };
        const command = { ...asked, ...toCredentialOnWire(made) };
        const reply = await scripts.run("order_credential", command);
        switch (reply[0]) {
          case "ordered":
            return { outcome: reply[0], credential: made, instant: Number(reply[1]) };
          case "busy":
            return { outcome: reply[0] };
          case "changed":
            continue;
          default: {
            const refused = callRefusedOf(reply);
            // Neither counts here: no limit and no number of uses was asked for.
            if (refused.outcome === "limit_reached" || refused.outcome === "uses_exhausted") throw unknownReply(reply);
            return refused;
          }
        }
      }
      return { outcome: "busy" };
    },
    changeCredential: async ({ at, grant, version, to, endGrantBy, event }) => {
      const found = await find(grant);
      if (found === null || found.version !== version) return { outcome: "conflict" };
      const made = to === null ? null : changed(found, to);
      const reply = await scripts.run("change_credential", {
        at,
        grant,
        seen_version: version,
        endGrantBy,
        event: event === null ? null : toDraft(event),
        ...(made === null ? {} : toCredentialOnWire(made)),
      });
      switch (reply[0]) {
        case "changed":
          return { outcome: reply[0], credential: made, instant: Number(reply[1]) };
        case "conflict":
          return { outcome: reply[0] };
        default:
          throw unknownReply(reply);
      }
    },
    findCredential: find,
    dueCredentials: async (at, limit) => {
      const due = await client.zrangebyscore(`${base}credentials:due`, "-inf", at, "LIMIT", 0, limit);
      // One that was put off since its id was read is not due any more.
      return (await findAll(due)).filter(({ dueAt }) => dueAt <= at);
    },
    listCredentials: async (after, limit) => {
      const found: StoredCredential[] = [];
      let from = after === null ? "-" : `(${after}`;
      // A page that is not full is the last one to who asks, so those that go meanwhile must not shorten it.
      while (found.length < limit) {
        const wanted = limit - found.length;
        const ids = await client.zrange(`${base}credentials:ids`, from, "+", "BYLEX", "LIMIT", 0, wanted);
        found.push(...(await findAll(ids)));
        const last = ids.at(-1);
        if (ids.length < wanted || last === undefined) break;
        from = `(${last}`;
      }
      return found;
    },
  };
}

function changed(
  found: StoredCredential,
  {
    state,
    dueAt,
    endingSince,
    attempts,
    failure,
    endsAt,
  }: NonNullable<Parameters<CredentialPort["changeCredential"]>[0]["to"]>,
): StoredCredential {
  return { ...found, state, dueAt, endingSince, attempts, failure, endsAt, version: found.version + 1 };
}

/** As scripts take it, and `load.lua`. */
export function toCredentialOnWire(credential: StoredCredential): object {
  const { grant, version, state, dueAt } = credential;
  return { grant, version, state, dueAt, text: JSON.stringify(credential) };
}

export function credentialOf(row: string): StoredCredential {
  const [, json] = splitRow(row, 3);
  // Made by `toCredentialOnWire`.
  return json as StoredCredential;
}
