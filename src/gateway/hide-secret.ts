// A caller may have found an upstream's root credential and send it as a path, an id or a name: what is told of such a
// call, in the answer and on record, has it blotted out. Never throws: where the secret is not there, nothing tells it.

import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import { createScrubber } from "./scrub.ts";

/** The same object where the secret is not in it; otherwise a copy. `told` is plain data. */
export async function hideSecret<Told>(secrets: RootSecrets, upstream: GatewayUpstream, told: Told): Promise<Told> {
  const secret = await secrets.open(upstream.credential.secret, upstream.origins[0]).catch(() => null);
  if (secret === null) return told;
  const text = JSON.stringify(told);
  const hidden = createScrubber(secret).text(text);
  // Blots keep every length and are no part of JSON's own signs: what comes back has the shape that went in.
  return hidden === text ? told : (JSON.parse(hidden) as Told);
}
