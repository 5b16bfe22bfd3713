// Public keys as they stand in scopes: an inline JWK, or a file that holds one.
// P-256 and Ed25519 only. A private member is refused wherever it turns up, and its value is never repeated.

import { createPublicKey } from "node:crypto";
import * as z from "zod";
import { digestOf } from "../core/canonical-json.ts";
import type { PublicJwk } from "./scope-set.ts";

/** A public JWK has some 200 bytes; a file beyond this is not one. */
export const MAX_KEY_FILE_BYTES = 8 * 1024;
const MAX_PATH_LENGTH = 1024;
/** 32 bytes in base64url. */
const COORDINATE = /^[A-Za-z0-9_-]{43}$/;
/** RFC 7518 and RFC 8037: members of private and symmetric keys. */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const PRIVATE_FOUND =
  "expected a public key, found a private one: take it out, treat it as leaked, and make another with `valetkey key new`";

const Coordinate = z.string().regex(COORDINATE, "expected 32 bytes in base64url (43 characters)");

/** Members that other tools write and that say nothing we need. */
const Described = {
  kid: z.string().optional(),
  alg: z.string().optional(),
  use: z.string().optional(),
  key_ops: z.array(z.string()).optional(),
  ext: z.boolean().optional(),
};

function isPrivate(issue: { code?: string | undefined; keys?: unknown }): boolean {
  return (
    issue.code === "unrecognized_keys" &&
    Array.isArray(issue.keys) &&
    issue.keys.some((key) => PRIVATE_MEMBERS.includes(String(key)))
  );
}

const keyObject = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, { error: (issue) => (isPrivate(issue) ? PRIVATE_FOUND : undefined) });

const EcJwk = keyObject({ kty: z.literal("EC"), crv: z.literal("P-256"), x: Coordinate, y: Coordinate, ...Described });
const OkpJwk = keyObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: Coordinate, ...Described });
const Jwk = z
  .discriminatedUnion("kty", [EcJwk, OkpJwk])
  .refine((jwk) => isOnCurve(jwk), "expected a point on the curve");

const KeyFile = z.strictObject({
  file: z
    .string()
    .min(1)
    .max(MAX_PATH_LENGTH)
    .refine((path) => !path.includes("\0"), "expected a path")
    .describe("path of a public JWK, relative to the folder of this YAML file"),
});

export const KeyDocument = z.union([Jwk, KeyFile]);
export type KeyDocument = z.infer<typeof KeyDocument>;
type JwkDocument = z.infer<typeof Jwk>;

export const EXPECTED_KEY = "a public JWK (kty EC with crv P-256, or kty OKP with crv Ed25519) or { file: … }";

/** Only what identifies the key, in the members of RFC 7638. */
export function toPublicJwk(jwk: JwkDocument): PublicJwk {
  if (jwk.kty === "EC") return Object.freeze({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y });
  return Object.freeze({ crv: jwk.crv, kty: jwk.kty, x: jwk.x });
}

/** The RFC 7638 thumbprint, in hexadecimal: a public JWK holds the required members and no others. */
export function thumbprintOf(jwk: PublicJwk): string {
  return digestOf(jwk);
}

/** The key in a key file's text, or what is wrong with it. Never repeats what it read. */
export function parseKeyFile(text: string): { readonly key: PublicJwk } | { readonly message: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { message: "expected a public JWK in JSON, found something that is not JSON" };
  }
  if (typeof value === "object" && value !== null && PRIVATE_MEMBERS.some((member) => Object.hasOwn(value, member))) {
    return { message: PRIVATE_FOUND };
  }
  const parsed = Jwk.safeParse(value);
  if (!parsed.success) return { message: `expected a public JWK: kty EC with crv P-256, or kty OKP with crv Ed25519` };
  return { key: toPublicJwk(parsed.data) };
}

function isOnCurve(jwk: z.infer<typeof EcJwk> | z.infer<typeof OkpJwk>): boolean {
  try {
    const plain = toPublicJwk(jwk);
    // A second spelling of the same bytes would be a second thumbprint of the same key.
    const canonical = ["x", "y"].every((member) => {
      const text = plain[member];
      return text === undefined || Buffer.from(text, "base64url").toString("base64url") === text;
    });
    return canonical && createPublicKey({ key: { ...plain }, format: "jwk" }).asymmetricKeyType !== undefined;
  } catch {
    return false;
  }
}
