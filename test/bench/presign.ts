// Requests with single-use assertions, signed before the clock starts: callers sign on their own machines, so their
// signatures are no part of what a broker costs. Synchronous signing, which is the fastest way to make thousands.

import { createPrivateKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { calculateJwkThumbprint, type JWK } from "jose";
import { PROOF_TYPE } from "../../src/core/proof.ts";

/** As long as a proof may live: the requests wait here for their round. */
const LIFE_SECONDS = 300;

export type SignAssertion = () => string;

/** Unique ES256 assertions by one caller. `type` is the header's `typ`. */
export async function createAssertionSigner(
  name: string,
  audience: string,
  jwk: JWK,
  type: string = PROOF_TYPE,
): Promise<SignAssertion> {
  const key: KeyObject = createPrivateKey({ key: { ...jwk }, format: "jwk" });
  const header = encode({ typ: type, alg: "ES256", kid: await calculateJwkThumbprint(jwk) });
  return () => {
    const iat = Math.floor(Date.now() / 1000);
    const jti = randomBytes(16).toString("base64url");
    const input = `${header}.${encode({ iss: name, sub: name, aud: audience, jti, iat, exp: iat + LIFE_SECONDS })}`;
    return `${input}.${sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** One HTTP/1.1 request as bytes. */
export function renderRequest(
  method: "GET" | "POST",
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body: string | null = null,
): Buffer {
  const all = {
    Host: "127.0.0.1",
    ...headers,
    ...(body === null ? {} : { "Content-Length": String(Buffer.byteLength(body)) }),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`);
}
