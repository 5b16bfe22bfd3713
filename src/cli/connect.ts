// From common options to an API client that proves who is calling. Reads one key file; never prints what is in it.

import { resolve } from "node:path";
import { type ApiClient, createApiClient } from "../sdk/api-client.ts";
import { loadKey, type LoadedKey } from "../sdk/load-key.ts";
import type { BrokerOptions } from "./context.ts";
import { type ClientEnvironment, readBrokerUrl, readClientEnvironment, STATE_FOLDER } from "./environment.ts";
import { messageOf, wrongUse } from "./failure.ts";
import { isName } from "../core/names.ts";
import type { Surroundings } from "./surroundings.ts";

/** Throws CommandFailure (exit 2) where nobody is named or the key cannot be read. */
export function connect(surroundings: Surroundings, options: BrokerOptions): ApiClient {
  const environment = readClientEnvironment(surroundings.env, surroundings.cwd);
  const file = keyFileOf(surroundings, options, environment);
  const { name, key } = readKey(file);
  if (name === null)
    throw wrongUse(`${file} does not say whose key it is: add the member "sub" with the caller's name`);
  return createApiClient({
    url: options.url === undefined ? environment.url : readBrokerUrl(options.url, "--url"),
    issuer: environment.issuer ?? undefined,
    name,
    key,
    clock: surroundings.clock,
  });
}

function readKey(file: string): LoadedKey {
  try {
    return loadKey(file);
  } catch (error) {
    throw wrongUse(messageOf(error));
  }
}

function keyFileOf(surroundings: Surroundings, options: BrokerOptions, environment: ClientEnvironment): string {
  if (options.as !== undefined && options.key !== undefined)
    throw wrongUse("say who is calling once: --as NAME or --key FILE");
  if (options.as !== undefined) {
    if (!isName(options.as)) throw wrongUse("--as: expected a name such as coder");
    return resolve(surroundings.cwd, STATE_FOLDER, "keys", `${options.as}.jwk`);
  }
  if (options.key !== undefined) return resolve(surroundings.cwd, options.key);
  if (environment.keyFile !== null) return environment.keyFile;
  throw wrongUse("say who is calling: --as NAME, --key FILE, or VALETKEY_KEY in the environment");
}
