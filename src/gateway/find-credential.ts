// Where a caller brings its Valetkey credential: in whatever header the provider's own clients use, so that an
// unmodified client works by changing its base URL and its key. Exactly one header, exactly one credential.

import { BrokerError } from "../core/errors.ts";

/** `Bearer x`, GitHub's `token x`, HTTP Basic with it as user name or password, or the bare value. */
export function findCredential(headers: ReadonlyMap<string, string>, accepted: readonly string[]): string {
  const present = accepted.flatMap((name) => headers.get(name) ?? []);
  const [value] = present;
  if (value === undefined) {
    throw invalid(`send the credential of a grant on this upstream in the header ${accepted.join(" or ")}`);
  }
  if (present.length > 1) throw invalid(`send it in one of the headers ${accepted.join(", ")}, not in several`);
  const [, scheme, rest] = /^(?:([A-Za-z]+) +)?(\S+)$/.exec(value) ?? [];
  if (rest === undefined) throw invalid("expected one value without spaces, after its scheme");
  switch (scheme?.toLowerCase()) {
    case undefined:
    case "bearer":
    case "token":
      return rest;
    case "basic":
      return fromBasic(rest);
    default:
      throw invalid("expected the scheme Bearer, token or Basic");
  }
}

/** Clients put a key into either half: the one that is there is it, and with both the one that looks like a JWT. */
function fromBasic(encoded: string): string {
  const text = Buffer.from(encoded, "base64").toString("latin1");
  const colon = text.indexOf(":");
  const halves = colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)];
  const found = halves.filter((half) => /^ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(half));
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw invalid("expected it as the user name or the password of HTTP Basic");
  return only;
}

function invalid(why: string): BrokerError {
  return new BrokerError("credential_invalid", why);
}
