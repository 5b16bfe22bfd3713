// Which operation a call to an upstream of type http is, and so which permissions it needs. What is not listed is
// refused; what is matched is what is sent, byte for byte.

import { BrokerError } from "../core/errors.ts";
import type { ArgumentValue, HttpOperation, HttpUpstream } from "../scopes/scope-set.ts";
import { type InboundCall, mediaTypeOf, wrongBody } from "./inbound-call.ts";
import { headersToSend, type MatchedCall, type Outbound } from "./matched-call.ts";
import { parseForm } from "./read-form.ts";
import { parseStrictJson } from "./read-json.ts";

const MEDIA_TYPES = { json: "application/json", form: "application/x-www-form-urlencoded" } as const;

export async function matchHttp(upstream: HttpUpstream, inbound: InboundCall): Promise<MatchedCall> {
  const found = upstream.operations.find(inbound.method, inbound.path);
  if (found === null) throw unlisted(upstream, inbound);
  const { operation, parameters } = found;
  const query = readQuery(operation, inbound);
  const headers = headersToSend(inbound.headers, operation.headers, upstream);
  const { argument, bytes } = await readArgument(operation, inbound);
  checkBody(argument, upstream, operation);
  const header = Object.fromEntries(headers);
  const judged = operation.meaning.judge({
    ...parameters,
    query,
    header,
    ...(argument === null ? {} : { body: argument }),
  });
  if ("fault" in judged) throw new BrokerError("malformed_request", `${operation.name}: ${judged.fault}`);
  return {
    operation: operation.name,
    permissions: judged.permissions,
    idempotent: operation.idempotent,
    outbound: {
      origin: operation.origin,
      method: inbound.method,
      path: inbound.path,
      query: inbound.rawQuery,
      headers: withContentType(headers, operation, inbound),
      body: bytes,
      bodyBytes: () => (bytes instanceof Uint8Array ? bytes.length : inbound.bytesStreamed()),
      bodyKind: operation.body,
    },
  };
}

function unlisted(upstream: HttpUpstream, { method, path }: InboundCall): BrokerError {
  const message = `${method} ${path.slice(0, 200)} is not among the operations of upstream ${upstream.name}: what is not listed is refused`;
  return new BrokerError("operation_unlisted", message, {
    reasons: [{ code: "operation_unlisted", message, rule: `upstream ${upstream.name}` }],
  });
}

function readQuery(operation: HttpOperation, { query }: InboundCall): Readonly<Record<string, string>> {
  for (const [name] of query) {
    if (operation.query.has(name)) continue;
    const message = `${operation.name} lists no query parameter ${JSON.stringify(name.slice(0, 64))}: leave it out, or add it to the operation`;
    throw new BrokerError("operation_unlisted", message);
  }
  return Object.fromEntries(query);
}

async function readArgument(
  operation: HttpOperation,
  inbound: InboundCall,
): Promise<{ readonly argument: ArgumentValue | null; readonly bytes: Outbound["body"] }> {
  const { body } = operation;
  if (body === "none") {
    if (inbound.hasBody) throw wrongBody(`no body: ${operation.name} takes none`);
    return { argument: null, bytes: null };
  }
  if (!inbound.hasBody) return { argument: null, bytes: null };
  if (body === "bytes") return { argument: null, bytes: inbound.streamBody() };
  if (mediaTypeOf(inbound) !== MEDIA_TYPES[body]) {
    throw wrongBody(`a body of Content-Type ${MEDIA_TYPES[body]} in UTF-8: ${operation.name} takes no other`);
  }
  const bytes = await inbound.readBody();
  if (body === "json") return { argument: parseStrictJson(bytes), bytes };
  if (!/^[\x20-\x7e]*$/.test(bytes.toString("latin1"))) throw wrongBody("a form of printable ASCII, percent-encoded");
  return { argument: parseForm(bytes.toString("latin1")), bytes };
}

/** Members that would make the call another one: the place of the root credential, and a method in the body. */
function checkBody(argument: ArgumentValue | null, { credential }: HttpUpstream, operation: HttpOperation): void {
  if (argument === null || typeof argument !== "object") return;
  const { place } = credential;
  const refused = [...(place.kind === "body" ? [place.name] : []), ...(operation.body === "form" ? ["_method"] : [])];
  const found = refused.find((name) => Object.hasOwn(argument, name));
  if (found !== undefined) throw wrongBody(`no member ${found} in the body of ${operation.name}`);
}

function withContentType(
  headers: readonly (readonly [string, string])[],
  operation: HttpOperation,
  inbound: InboundCall,
): Outbound["headers"] {
  const type = inbound.headers.get("content-type");
  if (operation.body === "none" || !inbound.hasBody || type === undefined) return headers;
  // A body that is passed through is as long as its sender said; one that was read has a length of its own.
  const length = operation.body === "bytes" ? inbound.headers.get("content-length") : undefined;
  return [
    ...headers.filter(([name]) => name !== "content-type"),
    ["content-type", type],
    ...(length === undefined ? [] : ([["content-length", length]] as const)),
  ];
}
