// Where a broker may be: https anywhere, plain http on this machine alone. Credentials and proofs travel there.

import { ValetkeyError } from "./errors.ts";

const LOOPBACK = /^(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/;

/** The URL without a trailing slash. Throws ValetkeyError where proofs may not be sent. */
export function parseBrokerUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new ValetkeyError("the broker's URL is not one: expected something like https://valetkey.example.com");
  }
  if (url.protocol === "http:" && !LOOPBACK.test(url.hostname)) {
    throw new ValetkeyError(
      `the broker's URL must be https where it is not on this machine; found plain http to ${url.hostname}`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new ValetkeyError("the broker's URL may have no user, password, query or fragment");
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}
