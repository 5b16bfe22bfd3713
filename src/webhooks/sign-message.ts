// Signs a message the way Standard Webhooks says. One of the few files where a secret is revealed: it goes into the
// signature alone, never into a header, a log or an error.

import { Webhook as WebhookSigner } from "standardwebhooks";
import { type Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import type { Message } from "./make-message.ts";

/** Standard Webhooks, "Signature scheme": 24 to 64 bytes, in base64 after the prefix. */
const SIGNING_SECRET = /^whsec_([A-Za-z0-9+/]{32,86}={0,2})$/;
const MIN_KEY_BYTES = 24;
const MAX_KEY_BYTES = 64;

export type MessageHeaders = readonly (readonly [name: string, value: string])[];

/** `at` is the instant of this try: receivers refuse one that is minutes off. Throws `secret_unavailable`. */
export function signMessage({ id, body }: Message, at: Instant, secret: Secret): MessageHeaders {
  const signer = new WebhookSigner(checkForm(Buffer.from(secret.reveal()).toString("utf8")));
  return [
    ["webhook-id", id],
    ["webhook-timestamp", String(Math.floor(at / 1000))],
    ["webhook-signature", signer.sign(id, new Date(at), body)],
  ];
}

function checkForm(text: string): string {
  const encoded = SIGNING_SECRET.exec(text)?.[1] ?? "";
  const key = Buffer.from(encoded, "base64");
  // One spelling of each key: what is read here is what the receiver reads.
  const isCanonical = key.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  if (isCanonical && key.length >= MIN_KEY_BYTES && key.length <= MAX_KEY_BYTES) return text;
  throw new BrokerError(
    "secret_unavailable",
    "expected a signing secret `whsec_` and 24 to 64 bytes in base64, found another form: put it again with `valetkey secrets put`",
  );
}
