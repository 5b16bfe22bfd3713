// A secret port in memory, for tests of the room above it: the transitions of the contract, and failures on demand.
// The real engine has the contract suite; this must not be used to test what an engine promises.

import type { SecretPort, StoredCanary, StoredSecret } from "../../src/secrets/secret-port.ts";

type Put = Parameters<SecretPort["putSecret"]>[0];
type Delete = Parameters<SecretPort["deleteSecret"]>[0];

export interface MemorySecrets extends SecretPort {
  /** The sealed rows; a test may change one behind the room's back. */
  readonly rows: Map<string, StoredSecret>;
  /** Every change of a secret that was asked for, refused ones too. */
  readonly commands: (Put | Delete)[];
  /** The next change is done, and then fails as if its answer had been lost. */
  loseNextAnswer(): void;
}

export function createMemorySecrets(stored: readonly StoredSecret[] = []): MemorySecrets {
  const rows = new Map(stored.map((secret) => [secret.name, secret]));
  const versions = new Map(stored.map(({ name, version }) => [name, version]));
  const canaries = new Map<string, StoredCanary>();
  const commands: (Put | Delete)[] = [];
  const proofs = new Set<string>();
  let losing = false;
  const isReplayed = (key: string): boolean => {
    const replayed = proofs.has(key);
    proofs.add(key);
    return replayed;
  };
  const answer = <Answer>(given: Answer): Answer => {
    if (!losing) return given;
    losing = false;
    throw new Error("the store does not answer");
  };
  return {
    rows,
    commands,
    loseNextAnswer: () => void (losing = true),
    secrets: async () => [...rows.values()],
    lastSecretVersion: async (name) => versions.get(name) ?? 0,
    putSecret: async (command) => {
      await Promise.resolve();
      commands.push(command);
      const { at, secret } = command;
      if (isReplayed(command.proof.key)) return { outcome: "proof_replayed" };
      if (secret.version !== (versions.get(secret.name) ?? 0) + 1) return { outcome: "conflict" };
      versions.set(secret.name, secret.version);
      rows.set(secret.name, { ...secret, createdAt: at });
      return answer({ outcome: "put", instant: at });
    },
    deleteSecret: async (command) => {
      await Promise.resolve();
      commands.push(command);
      if (isReplayed(command.proof.key)) return { outcome: "proof_replayed" };
      const outcome = rows.delete(command.name) ? "deleted" : "not_found";
      return answer({ outcome, instant: command.at });
    },
    canaries: async () => [...canaries.values()],
    addCanary: async ({ at, proof, canary }) => {
      if (isReplayed(proof.key)) return { outcome: "proof_replayed" };
      canaries.set(canary.id, { ...canary, createdAt: at });
      return { outcome: "added", instant: at };
    },
    deleteCanary: async ({ at, proof, id }) => {
      if (isReplayed(proof.key)) return { outcome: "proof_replayed" };
      return { outcome: canaries.delete(id) ? "deleted" : "not_found", instant: at };
    },
  };
}
