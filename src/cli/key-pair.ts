// Key pairs of agents, people and services as files: a private JWK with mode 0600 and the public one beside it.
// Never overwrites a file, never prints a private member.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import { messageOf, systemCodeOf, wrongUse } from "./failure.ts";

export const KEY_ALGORITHMS = ["ES256", "EdDSA"] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

export interface PrivateJwk {
  readonly kty: string;
  readonly crv: string;
  readonly x: string;
  readonly y?: string;
  readonly d: string;
  readonly alg: KeyAlgorithm;
  /** The name that this key proves. */
  readonly sub: string;
}

export type PublicMembers = Readonly<Record<string, string>>;

/** As `secrets/master-key.ts` reads it. */
const MASTER_KEY_BYTES = 32;

const PublicPart = z.object({ kty: z.string(), crv: z.string(), x: z.string(), y: z.string().exactOptional() });

/** A fresh key pair for a name. */
export function makeKeyPair(name: string, algorithm: KeyAlgorithm): PrivateJwk {
  const { privateKey } =
    algorithm === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  const Exported = PublicPart.extend({ d: z.string() });
  return { ...Exported.parse(privateKey.export({ format: "jwk" })), alg: algorithm, sub: name };
}

/** The members that may be shown: kty, crv, x, y. */
export function publicMembers(jwk: unknown): PublicMembers {
  const { kty, crv, x, y } = PublicPart.parse(jwk);
  return { kty, crv, x, ...(y === undefined ? {} : { y }) };
}

/** `a/coder.jwk` becomes `a/coder.pub.jwk`. */
export function publicFileOf(privateFile: string): string {
  return `${privateFile.replace(/\.jwk$/, "")}.pub.jwk`;
}

/** Writes a new private file. Throws CommandFailure (exit 2) where the file exists or cannot be written. */
export function writePrivateKey(file: string, jwk: PrivateJwk): Promise<void> {
  return writePrivate(file, `${JSON.stringify(jwk, null, 2)}\n`);
}

/** A fresh master key, for brokers that share a store. Throws as `writePrivateKey`. False: one is there, and may be. */
export async function writeMasterKey(file: string, mayBeThere: boolean): Promise<boolean> {
  if (mayBeThere && (await isThere(file))) return false;
  await writePrivate(file, randomBytes(MASTER_KEY_BYTES));
  return true;
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function writePrivate(file: string, content: string | Uint8Array): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(file, content, { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (systemCodeOf(error) === "EEXIST") {
      throw wrongUse(`${file} exists and is never overwritten; choose another file with --out, or move it away first`);
    }
    throw wrongUse(`cannot write ${file}: ${messageOf(error)}`);
  }
}

/** Writes the public half, beside the private one. What is there already stays when it is the same key. */
export async function writePublicKey(file: string, key: PublicMembers): Promise<void> {
  const text = `${JSON.stringify(key, null, 2)}\n`;
  try {
    await writeFile(file, text, { flag: "wx", mode: 0o644 });
  } catch (error) {
    if (systemCodeOf(error) === "EEXIST") {
      if ((await readFile(file, "utf8")) === text) return;
      throw wrongUse(`${file} exists with another key and is never overwritten; move it away first`);
    }
    throw wrongUse(`cannot write ${file}: ${messageOf(error)}`);
  }
}

/** The public members of a private file that is there already, or null where there is none. */
export async function readPublicMembers(privateFile: string): Promise<PublicMembers | null> {
  try {
    return publicMembers(JSON.parse(await readFile(privateFile, "utf8")));
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return null;
    // The parser's message could quote the file, and the file is secret.
    throw wrongUse(`${privateFile} is not a readable private JWK; move it away and run the command again`);
  }
}
