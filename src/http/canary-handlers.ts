// The routes of decoys: parsed input in, `Decoys` asked, its answer out. No rule lives here. A value leaves once, in the
// answer to whoever made it.

import { BrokerError } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import type { Decoys } from "../secrets/decoys.ts";
import type { SecretCall } from "../secrets/root-secrets.ts";
import type { Handlers, Incoming } from "./endpoint.ts";

export function createCanaryHandlers({
  decoys,
}: {
  readonly decoys: Decoys;
}): Pick<Handlers, "addCanary" | "listCanaries" | "deleteCanary"> {
  return {
    addCanary: async (incoming) => {
      const { like, note = null } = incoming.body;
      return { status: 201, json: await decoys.add(callOf(incoming), like, note) };
    },
    listCanaries: () => ({ status: 200, json: { canaries: decoys.list() } }),
    deleteCanary: async (incoming) => {
      const id = String(incoming.params["id"]);
      if (!isId("can", id)) throw new BrokerError("not_found", "a decoy's id looks like can_01J…");
      await decoys.remove(callOf(incoming), id);
      return { status: 200, json: { canaries: decoys.list() } };
    },
  };
}

function callOf({ caller, request }: Pick<Incoming, "caller" | "request">): SecretCall {
  if (caller?.principal.kind !== "Person")
    throw new BrokerError("internal", "a route for people was reached by another");
  return { person: caller.principal.name, proof: caller.proof, request };
}
