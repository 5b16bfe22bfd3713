// The answer to a call that waits: 202, where to look, and what it waits for. Never the look of a success: clients of
// GraphQL get `errors` (semantics, rule 32), and programs the header `Valetkey-Hold`.

import type { Hold } from "../api/holds.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { ProxiedCall } from "./gateway.ts";

/** Seconds until looking again makes sense, for who does not long-poll. */
const RETRY_AFTER_SECONDS = 30;

export function answerHeld(
  hold: Hold,
  { type }: GatewayUpstream,
  issuer: string,
  { request, response, message }: Pick<ProxiedCall, "request" | "response" | "message">,
): void {
  const waits = hold.missing.map((missing) => missing.message);
  const detail = `nothing was sent yet: ${hold.operation} waits for ${waits.length === 0 ? "its turn" : waits.join("; ")}`;
  const location = `${issuer}/v1/holds/${hold.id}`;
  // RFC 9457, with the status of something that is no problem yet.
  const told = {
    type: "urn:valetkey:held",
    title: "this call waits for what its permission requires",
    status: 202,
    code: "held",
    detail,
    instance: request,
    hold,
    location,
  };
  const more =
    type === "graphql"
      ? { errors: [{ message: `held: ${detail}`, extensions: { code: "held", hold: hold.id, location, request } }] }
      : { error: { type: "held", code: "held", message: `held: ${detail}` } };
  const body = Buffer.from(JSON.stringify({ ...told, ...more }));
  response.writeHead(202, {
    "Content-Type": `application/${type === "graphql" ? "json" : "problem+json"}; charset=utf-8`,
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    Location: location,
    "Valetkey-Hold": hold.id,
    "Retry-After": String(RETRY_AFTER_SECONDS),
    ...(message.complete ? {} : { Connection: "close" }),
  });
  response.end(body);
}
