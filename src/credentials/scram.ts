// What a PostgreSQL server keeps of a password (RFC 5803, SCRAM-SHA-256): computed here, so that the password itself is sent
// to no server and stands in no log. A server that has the verifier cannot log in with it.

import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

const derive = promisify(pbkdf2);

/** PostgreSQL's own number. The passwords have 256 random bits: no number of rounds makes them harder to guess. */
const ITERATIONS = 4096;
const KEY_BYTES = 32;
const SALT_BYTES = 16;

export interface ScramSecret {
  /** 43 characters of base64url: ASCII, so that SASLprep changes nothing. */
  readonly password: string;
  /** `SCRAM-SHA-256$4096:…`, as CREATE ROLE takes it. */
  readonly verifier: string;
}

export async function drawScramSecret(): Promise<ScramSecret> {
  const password = randomBytes(KEY_BYTES).toString("base64url");
  return { password, verifier: await scramVerifier(password, randomBytes(SALT_BYTES)) };
}

/** RFC 5802 section 3, RFC 5803 section 3. */
export async function scramVerifier(password: string, salt: Uint8Array): Promise<string> {
  const salted = await derive(password, salt, ITERATIONS, KEY_BYTES, "sha256");
  const key = (name: string): Buffer => createHmac("sha256", salted).update(name).digest();
  const stored = createHash("sha256").update(key("Client Key")).digest("base64");
  const salt64 = Buffer.from(salt).toString("base64");
  return `SCRAM-SHA-256$${ITERATIONS}:${salt64}$${stored}:${key("Server Key").toString("base64")}`;
}
