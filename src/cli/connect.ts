// From common options to an API client that proves who is calling, by a key file or a key of the caller's SSH agent.
// Reads one key file; never prints what is in it.

import { resolve } from "node:path";
import { type ApiClient, createApiClient } from "../sdk/api-client.ts";
import { createKeySigner, type Signer, type SigningKey } from "../sdk/signer.ts";
import type { BrokerOptions } from "./context.ts";
import { type ClientEnvironment, readBrokerUrl, readClientEnvironment, STATE_FOLDER } from "./environment.ts";
import { messageOf, wrongUse } from "./failure.ts";
import { isName } from "../core/names.ts";
import { findSshSigner } from "./ssh-key.ts";
import type { Surroundings } from "./surroundings.ts";

type Around = Pick<Surroundings, "env" | "cwd" | "clock">;

/** Throws CommandFailure (exit 2) where nobody is named or the key cannot be read. An SSH agent is asked at the first call. */
export function connect(surroundings: Around, options: BrokerOptions): ApiClient {
  const environment = readClientEnvironment(surroundings.env, surroundings.cwd);
  const { name, key } = callerOf(surroundings, options, environment);
  return clientOf(surroundings, options, environment, name, key);
}

/** For commands that sign more than their calls. Throws CommandFailure (exit 2) or, for an SSH agent, ValetkeyError. */
export async function connectWithSigner(
  surroundings: Around,
  options: BrokerOptions,
): Promise<{ readonly client: ApiClient; readonly signer: Signer; readonly name: string }> {
  const environment = readClientEnvironment(surroundings.env, surroundings.cwd);
  const { name, key } = callerOf(surroundings, options, environment);
  const signer = typeof key === "function" ? await key() : key;
  return { client: clientOf(surroundings, options, environment, name, signer), signer, name };
}

interface NamedKey {
  readonly name: string;
  readonly key: Signer | (() => Promise<Signer>);
}

function clientOf(
  surroundings: Around,
  options: BrokerOptions,
  environment: ClientEnvironment,
  name: string,
  key: SigningKey,
): ApiClient {
  return createApiClient({
    url: options.url === undefined ? environment.url : readBrokerUrl(options.url, "--url"),
    issuer: environment.issuer ?? undefined,
    name,
    key,
    clock: surroundings.clock,
  });
}

function callerOf(surroundings: Around, options: BrokerOptions, environment: ClientEnvironment): NamedKey {
  const { sshKey } = options;
  if (sshKey === undefined) return fileCaller(keyFileOf(surroundings, options, environment));
  if (options.key !== undefined) throw wrongUse("say once which key it is: --key FILE or --ssh-key KEY");
  if (options.as === undefined)
    throw wrongUse("an SSH key does not say whose it is: add --as NAME, the name that the policy has it under");
  return { name: checkedName(options.as), key: () => findSshSigner(surroundings, sshKey) };
}

function fileCaller(file: string): NamedKey {
  let key: Signer;
  try {
    key = createKeySigner(file);
  } catch (error) {
    throw wrongUse(messageOf(error));
  }
  if (key.name === null)
    throw wrongUse(`${file} does not say whose key it is: add the member "sub" with the caller's name`);
  return { name: key.name, key };
}

function keyFileOf(surroundings: Around, options: BrokerOptions, environment: ClientEnvironment): string {
  if (options.as !== undefined && options.key !== undefined)
    throw wrongUse("say who is calling once: --as NAME or --key FILE");
  if (options.as !== undefined)
    return resolve(surroundings.cwd, STATE_FOLDER, "keys", `${checkedName(options.as)}.jwk`);
  if (options.key !== undefined) return resolve(surroundings.cwd, options.key);
  if (environment.keyFile !== null) return environment.keyFile;
  throw wrongUse("say who is calling: --as NAME, --key FILE, or VALETKEY_KEY in the environment");
}

function checkedName(name: string): string {
  if (!isName(name)) throw wrongUse("--as: expected a name such as coder");
  return name;
}
