// Requests that no well-behaved client would send: raw bytes on a socket, and fetches with a proof of one's own making.

import { connect } from "node:net";
import { importJWK, SignJWT, type JWK } from "jose";
import { proofClaims } from "../../src/core/proof.ts";
import * as z from "zod";
import type { TestBroker } from "./broker.ts";

/** A proof by this principal; `claims` and `header` replace what a good one has. */
export async function signProof(
  broker: TestBroker,
  name: string,
  change: { claims?: Record<string, unknown>; header?: Record<string, unknown>; key?: JWK } = {},
): Promise<string> {
  const key = await importJWK(change.key ?? broker.keyOf(name), "ES256");
  const claims = { ...proofClaims(name, broker.url, broker.clock.now(), crypto.randomUUID()), ...change.claims };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", typ: "client-authentication+jwt", ...change.header })
    .sign(key);
}

/** One POST with this body as it is; the parsed problem or answer. */
export async function post(
  broker: TestBroker,
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  options: { name?: string; proof?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const proof = options.proof ?? (await signProof(broker, options.name ?? "coder"));
  const response = await fetch(broker.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${proof}`, "content-type": "application/json", ...options.headers },
    body,
  });
  const text = await response.text();
  return {
    status: response.status,
    body: z.record(z.string(), z.unknown()).parse(text === "" ? {} : JSON.parse(text)),
    headers: response.headers,
  };
}

/** Sends these bytes and reads until the other side closes, two seconds at most. */
export function sendRaw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let answer = "";
    const done = (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2000, done);
    socket.on("data", (chunk) => (answer += chunk.toString()));
    socket.on("end", done);
    socket.on("error", reject);
    socket.write(bytes);
  });
}
