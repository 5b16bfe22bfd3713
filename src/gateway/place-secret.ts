// Puts the root credential where the provider expects it, in a request that was judged without it. One of the few files
// where a secret is revealed; what it returns goes to the egress alone.

import { BrokerError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import type { SecretPlace } from "../scopes/scope-set.ts";
import type { OutboundRequest } from "./egress.ts";
import type { Outbound } from "./matched-call.ts";

/** Visible ASCII: anything else could end the header, or be read differently by the next parser. */
const HEADER_SAFE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** Throws `secret_unavailable` where the credential cannot stand there. */
export function placeSecret(outbound: Outbound, place: SecretPlace, secret: Secret): OutboundRequest {
  const text = Buffer.from(secret.reveal()).toString("utf8");
  const { origin, method } = outbound;
  const path = (query: string | null): string => outbound.path + (query === null ? "" : `?${query}`);
  const plain = { origin, method, path: path(outbound.query), headers: outbound.headers, body: outbound.body };
  switch (place.kind) {
    case "header":
      return { ...plain, headers: [...outbound.headers, [place.name, checkHeader(place.prefix + text)]] };
    case "basic": {
      const pair = place.username === null ? `${text}:` : `${place.username}:${text}`;
      return {
        ...plain,
        headers: [...outbound.headers, ["authorization", `Basic ${Buffer.from(pair).toString("base64")}`]],
      };
    }
    case "query": {
      const pair = `${encodeURIComponent(place.name)}=${encodeURIComponent(text)}`;
      return { ...plain, path: path(outbound.query === null ? pair : `${outbound.query}&${pair}`) };
    }
    case "body":
      return { ...plain, ...placeInBody(outbound, place.name, text) };
  }
}

function checkHeader(value: string): string {
  if (HEADER_SAFE.test(value)) return value;
  throw new BrokerError(
    "secret_unavailable",
    "the root credential has characters that cannot stand in a header: put it again with `valetkey secrets put`",
  );
}

function placeInBody(outbound: Outbound, name: string, text: string): Pick<OutboundRequest, "headers" | "body"> {
  const { bodyKind, headers } = outbound;
  const body = outbound.body instanceof Uint8Array ? Buffer.from(outbound.body).toString("utf8") : "";
  if (bodyKind === "form") {
    const pair = `${encodeURIComponent(name)}=${encodeURIComponent(text)}`;
    return {
      headers: withType(headers, "application/x-www-form-urlencoded"),
      body: Buffer.from(body === "" ? pair : `${body}&${pair}`),
    };
  }
  if (bodyKind !== "json" || (body !== "" && !body.trimStart().startsWith("{"))) {
    throw new BrokerError(
      "secret_unavailable",
      "the upstream's credential goes into the body, and this call has none that could take it",
    );
  }
  const rest = body === "" ? "}" : body.trimStart().slice(1);
  const isEmpty = rest.trimStart() === "}";
  const member = `${JSON.stringify(name)}:${JSON.stringify(text)}`;
  return {
    headers: withType(headers, "application/json"),
    body: Buffer.from(`{${member}${isEmpty ? "" : ","}${rest}`),
  };
}

function withType(headers: Outbound["headers"], type: string): Outbound["headers"] {
  return headers.some(([name]) => name === "content-type") ? headers : [...headers, ["content-type", type]];
}
