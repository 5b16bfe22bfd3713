// Envelope encryption of one root credential: the value under a data key of its own, the data key under the master key.
// The value is bound to name, version and origins (semantics, rules 26 and 33): with any of them changed in clear, with
// either half of another row, or under another master key it does not open.

import { createSecretKey, randomBytes } from "node:crypto";
import { canonicalJson } from "../core/canonical-json.ts";
import { Secret } from "../core/secret.ts";
import { openWith, type Sealer, sealWith } from "./sealer.ts";

const DATA_KEY_BYTES = 32;

/** What is in clear beside a sealed value, and cannot be changed without it. */
export interface EnvelopeFacts {
  readonly name: string;
  readonly version: number;
  readonly origins: readonly string[];
}

export interface Envelope {
  readonly sealedKey: Uint8Array;
  readonly sealedValue: Uint8Array;
}

export function sealEnvelope(sealer: Sealer, facts: EnvelopeFacts, value: Uint8Array): Envelope {
  const dataKey = randomBytes(DATA_KEY_BYTES);
  try {
    return {
      sealedKey: sealer.seal("secret-key", keyName(facts), dataKey),
      sealedValue: sealWith(createSecretKey(dataKey), boundTo(facts), value),
    };
  } finally {
    dataKey.fill(0);
  }
}

/** Throws where anything about the envelope or its facts was changed. */
export function openEnvelope(sealer: Sealer, { sealedKey, sealedValue, ...facts }: Envelope & EnvelopeFacts): Secret {
  const dataKey = sealer.open("secret-key", keyName(facts), sealedKey);
  try {
    return new Secret(openWith(createSecretKey(dataKey), boundTo(facts), sealedValue));
  } finally {
    dataKey.fill(0);
  }
}

/** Names have no slash, so no two pairs make one text. */
function keyName({ name, version }: EnvelopeFacts): string {
  return `${name}/${version}`;
}

function boundTo({ name, version, origins }: EnvelopeFacts): Uint8Array {
  return Buffer.from(canonicalJson({ purpose: "secret-value", name, version, origins }));
}
