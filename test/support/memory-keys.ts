// A key port in memory, for tests of the room above it: the transitions of the contract, and failures on demand.
// The real engine has the contract suite; this must not be used to test what an engine promises.

import type { KeyPort, StoredKey } from "../../src/secrets/key-port.ts";

type Changes = Parameters<KeyPort["changeKeys"]>[0];

export interface MemoryKeys extends KeyPort {
  /** Every key ever, retired ones too; a test may change one behind the ring's back. */
  readonly rows: Map<string, StoredKey>;
  readonly commands: Changes[];
  check: Uint8Array | null;
  /** The next reading of keys fails. */
  failNextRead(): void;
}

export function createMemoryKeys(): MemoryKeys {
  const rows = new Map<string, StoredKey>();
  const commands: Changes[] = [];
  const proofs = new Set<string>();
  let failing = false;
  let number = 0;
  const port: MemoryKeys = {
    rows,
    commands,
    check: null,
    failNextRead: () => void (failing = true),
    keys: async () => {
      if (failing) {
        failing = false;
        throw new Error("the store does not answer");
      }
      return [...rows.values()].filter(({ state }) => state !== "retired");
    },
    changeKeys: async (command) => {
      await Promise.resolve();
      if (command.proof !== null) {
        if (proofs.has(command.proof.key)) return { outcome: "proof_replayed" };
        proofs.add(command.proof.key);
      }
      commands.push(command);
      for (const key of command.add) rows.set(key.id, { ...key, createdAt: command.at, stateAt: command.at });
      const retired = [];
      for (const { id, state } of command.moves) {
        const row = rows.get(id);
        if (row === undefined || row.state === "retired") throw new Error(`key ${id} cannot be moved`);
        rows.set(id, { ...row, state, stateAt: command.at });
        if (state === "retired") retired.push({ id, number: ++number });
      }
      return { outcome: "changed", instant: command.at, retired };
    },
    masterKeyCheck: async () => port.check,
    writeMasterKeyCheck: async (sealed) => {
      if (port.check !== null) throw new Error("the check value is written once");
      port.check = sealed;
    },
  };
  return port;
}
