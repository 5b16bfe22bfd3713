// The routes of root credentials: parsed input in, `RootSecrets` asked, its answer out. No rule lives here, and no
// value comes back: an answer is made of what `SecretAnswer` names.

import { BrokerError } from "../core/errors.ts";
import type { RootSecrets, SecretCall } from "../secrets/root-secrets.ts";
import type { Handlers, Incoming } from "./endpoint.ts";

export function createSecretHandlers({
  secrets,
}: {
  readonly secrets: RootSecrets;
}): Pick<Handlers, "putSecret" | "listSecrets" | "deleteSecret"> {
  return {
    putSecret: async (incoming) => ({
      status: 200,
      json: await secrets.put(callOf(incoming), nameOf(incoming), incoming.body),
    }),
    listSecrets: () => ({ status: 200, json: { secrets: secrets.list() } }),
    deleteSecret: async (incoming) => ({
      status: 200,
      json: await secrets.remove(callOf(incoming), nameOf(incoming)),
    }),
  };
}

function callOf({ caller, request }: Pick<Incoming, "caller" | "request">): SecretCall {
  if (caller?.principal.kind !== "Person")
    throw new BrokerError("internal", "a route for people was reached by another");
  return { person: caller.principal.name, proof: caller.proof, request };
}

function nameOf({ params }: Pick<Incoming, "params">): string {
  return String(params["name"]);
}
