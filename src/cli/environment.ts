// The environment variables of the client commands, read here and nowhere else in this room.
// The broker's own are read by `config.ts`. A value that cannot be meant is an error, never a default.

import { resolve } from "node:path";
import { parseBrokerUrl } from "../sdk/broker-url.ts";
import type { Variables } from "./surroundings.ts";
import { messageOf, wrongUse } from "./failure.ts";

export interface ClientEnvironment {
  /** Where the broker is, without a slash at its end. */
  readonly url: string;
  /** What proofs are made out to, when it is not the URL: a broker behind TLS has its own name. */
  readonly issuer: string | null;
  /** The caller's private JWK, absolute. */
  readonly keyFile: string | null;
}

const DEFAULT_PORT = "8420";
/** Folder of state and of keys for trying out, below the working folder. */
export const STATE_FOLDER = ".valetkey";

/** A URL that can be the broker's, without the slash at its end. Throws CommandFailure (exit 2). */
export function readBrokerUrl(text: string, source: string): string {
  try {
    return parseBrokerUrl(text);
  } catch (error) {
    throw wrongUse(`${source}: ${messageOf(error)}`);
  }
}

/** Throws CommandFailure (exit 2) where a value is not of the expected form. */
export function readClientEnvironment(env: Variables, cwd: string): ClientEnvironment {
  const issuer = set(env["VALETKEY_ISSUER"]);
  const keyFile = set(env["VALETKEY_KEY"]);
  return {
    url: readBrokerUrl(set(env["VALETKEY_URL"]) ?? findLocalUrl(env), "VALETKEY_URL"),
    issuer: issuer === null ? null : readBrokerUrl(issuer, "VALETKEY_ISSUER"),
    keyFile: keyFile === null ? null : resolve(cwd, keyFile),
  };
}

/** This machine's broker: at the port that it was told to listen on, where the same environment says so. */
function findLocalUrl(env: Variables): string {
  const [, port = DEFAULT_PORT] = /:([1-9][0-9]{0,4})$/.exec(env["VALETKEY_LISTEN"] ?? "") ?? [];
  return `http://127.0.0.1:${port}`;
}

/** An empty variable counts as none. */
function set(value: string | undefined): string | null {
  return value === undefined || value === "" ? null : value;
}
