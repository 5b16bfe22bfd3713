// The client's two environment variables, read in this file alone. What is given in code goes before them.

import { ValetkeyError } from "./errors.ts";

export interface ClientEnvironment {
  /** `VALETKEY_URL`: where the broker is. */
  readonly url: string | null;
  /** `VALETKEY_KEY`: path of the caller's private JWK. */
  readonly keyPath: string | null;
}

/** Empty counts as absent. */
export function readClientEnvironment(
  env: Readonly<Record<string, string | undefined>> = process.env,
): ClientEnvironment {
  return { url: env["VALETKEY_URL"] || null, keyPath: env["VALETKEY_KEY"] || null };
}

/** The value, or an error that says both ways to give it. */
export function demandSetting<Value>(value: Value | null | undefined, option: string, variable: string): Value {
  if (value === null || value === undefined)
    throw new ValetkeyError(`no ${option}: give the option '${option}' or set ${variable}`);
  return value;
}
