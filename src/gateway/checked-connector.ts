// Opens the sockets of one upstream. The address is checked in the origin, in what the name resolves to, and on the
// socket that came of it, at every connection: any refusal destroys the socket before a byte of a request is written.

import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { buildConnector } from "undici";
import { BrokerError } from "../core/errors.ts";
import { createAddressCheck } from "../core/addresses.ts";
import { checkLookup, refusedAddress } from "../core/checked-lookup.ts";

const MAX_CONNECT_MS = 10_000;

export interface ConnectorOptions {
  readonly name: string;
  readonly addresses: readonly string[];
  /** PEM certificates that are trusted instead of the system's. */
  readonly ca: string | null;
  readonly timeoutMs: number;
  readonly lookup: LookupFunction | undefined;
}

/** Its errors are `BrokerError`s that can be shown; nothing was sent when it fails. */
export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const { name, addresses, ca, timeoutMs } = options;
  const check = createAddressCheck(addresses);
  const connect = buildConnector({
    lookup: checkLookup(name, check, options.lookup ?? systemLookup),
    timeout: Math.min(timeoutMs, MAX_CONNECT_MS),
    allowH2: false,
    // Each connection proves its certificate anew; and neither variable nor flag of Node's weakens that.
    maxCachedSessions: 0,
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    ...(ca === null ? {} : { ca }),
  });
  return (target, callback) => {
    // For an address there is no lookup; `new URL` has written odd spellings like 127.1 or 0x7f.1 out.
    if (isIP(target.hostname) !== 0 && !check.isAllowed(target.hostname)) {
      queueMicrotask(() => callback(refusedAddress(name), null));
      return;
    }
    connect(target, (...[error, socket]) => {
      if (error !== null) {
        callback(describeFailure(name, error), null);
      } else if (socket.remoteAddress === undefined || !check.isAllowed(socket.remoteAddress)) {
        socket.destroy();
        callback(refusedAddress(name), null);
      } else {
        callback(null, socket);
      }
    });
  };
}

function describeFailure(
  name: string,
  cause: Error & { readonly code?: unknown; readonly syscall?: unknown },
): BrokerError {
  if (cause instanceof BrokerError) return cause;
  const code = typeof cause.code === "string" ? cause.code : "";
  if (code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT") {
    return new BrokerError("upstream_timeout", `upstream ${name}: it could not be connected to in time`, { cause });
  }
  return new BrokerError("upstream_failed", `upstream ${name}: ${reasonOf(code, cause.syscall)}`, { cause });
}

/** Codes are OpenSSL's and the operating system's own words; they say nothing of the request. */
function reasonOf(code: string, syscall: unknown): string {
  if (syscall === "getaddrinfo" || code === "ENOTFOUND") return "its name cannot be resolved";
  if (/CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$|^INVALID_PURPOSE$/.test(code))
    return `its certificate is not acceptable (${code})`;
  if (/^ERR_SSL_|^ERR_TLS_|^EPROTO$/.test(code)) return "TLS could not be agreed on";
  if (code === "ECONNREFUSED") return "it refuses connections";
  return "it could not be connected to";
}
