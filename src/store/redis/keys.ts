// Signing keys and the master key's check value in Redis: private halves come sealed, and a retired key has none.

import { BrokerError } from "../../core/errors.ts";
import type { KeyId } from "../../core/ids.ts";
import type { KeyPort, KeyState, StoredKey } from "../../secrets/key-port.ts";
import { toDraft } from "./record.ts";
import { notWrittenOf, splitRow, toBytes, toText, unknownReply } from "./replies.ts";
import type { Client, Reply, Scripts } from "./scripts.ts";

type Changed = Extract<Awaited<ReturnType<KeyPort["changeKeys"]>>, { readonly outcome: "changed" }>;

export function createKeyPort(client: Client, scripts: Scripts, base: string): KeyPort {
  return {
    keys: async () => {
      const [rows, sealed] = await Promise.all([client.hgetall(`${base}keys`), client.hgetall(`${base}sealed_keys`)]);
      return Object.entries(rows)
        .flatMap(([id, row]) => keyOf(id, row, sealed[id]))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    },
    changeKeys: async ({ at, proof, add, moves, events }) => {
      const reply = await scripts.run("change_keys", {
        at,
        proof,
        add: add.map(({ id, state, sealed, ...kept }) => ({
          id,
          state,
          sealed: toText(sealed),
          text: JSON.stringify(kept),
        })),
        moves,
        events: events.map((event) => toDraft(event)),
      });
      switch (reply[0]) {
        case "changed":
          return changedOf(reply);
        case "exists":
          throw new BrokerError("conflict", `expected a new key, ${reply[1]} exists`);
        case "added_retired":
          throw new BrokerError("conflict", "a key cannot be added as retired; leave it out");
        case "missing":
          throw new BrokerError("conflict", `there is no key ${reply[1]} to move; list the keys again`);
        case "retired":
          throw new BrokerError("conflict", `key ${reply[1]} is retired and stays so; make another`);
        case "two_keys":
          throw new BrokerError("conflict", `there would be two keys that are ${reply[1]}; list the keys again`);
        default:
          return notWrittenOf(reply);
      }
    },
    masterKeyCheck: async () => {
      const sealed = await client.get(`${base}master_key_check`);
      return sealed === null ? null : toBytes(sealed);
    },
    writeMasterKeyCheck: async (sealed) => {
      const reply = await scripts.run("write_master_key_check", { sealed: toText(sealed) });
      switch (reply[0]) {
        case "written":
          return;
        case "exists":
          throw new BrokerError("conflict", "the store has a master key's check value; it is written once");
        default:
          throw unknownReply(reply);
      }
    },
  };
}

/** None where it is retired, also meanwhile. */
function keyOf(id: string, row: string, sealed: string | undefined): StoredKey[] {
  const [[state, createdAt, stateAt], json] = splitRow(row, 3);
  if (state === "retired" || sealed === undefined) return [];
  // Written by `changeKeys`.
  const { purpose, publicJwk } = json as Pick<StoredKey, "purpose" | "publicJwk">;
  return [
    {
      // Written by `changeKeys`, as its state is.
      id: id as KeyId,
      purpose,
      state: state as KeyState,
      publicJwk,
      sealed: toBytes(sealed),
      createdAt: Number(createdAt),
      stateAt: Number(stateAt),
    },
  ];
}

/** `changed instant`, then id and number of each that was retired. */
function changedOf([, instant, ...pairs]: Reply): Changed {
  const retired: Changed["retired"][number][] = [];
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    // The id of a move.
    retired.push({ id: pairs[i] as KeyId, number: Number(pairs[i + 1]) });
  }
  return { outcome: "changed", instant: Number(instant), retired };
}
