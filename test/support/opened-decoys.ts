// Decoys on a port in memory, and what a decoy of each kind is known by.

import type { CanaryKind } from "../../src/api/secrets.ts";
import { isId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import { createDecoys } from "../../src/secrets/decoys.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { createMemorySecrets } from "./memory-secrets.ts";
import { NOW, personCall, policyOf } from "./root-secrets-fixture.ts";

export async function openDecoys({ port = createMemorySecrets(), masterKey = 7 } = {}) {
  const decoys = await createDecoys({
    port,
    sealer: createSealer(new Secret(Buffer.alloc(32, masterKey))),
    at: () => NOW,
    policy: () => policyOf(),
  });
  const plant = async (like: CanaryKind, note: string | null = null) => {
    const { canary, value } = await decoys.add(personCall(), like, note);
    return { canary, value, key: /AKIA\w+/.exec(value)?.[0] ?? value };
  };
  const forget = async (id: string, call = personCall()) => {
    if (!isId("can", id)) throw new Error(`not a decoy's id: ${id}`);
    await decoys.remove(call, id);
  };
  const findIn = (text: string) => decoys.find([["body", text]]);
  return { port, decoys, plant, forget, findIn };
}
