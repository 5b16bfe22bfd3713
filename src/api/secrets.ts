// The wire contract of root credentials and decoys. Values go in, or come out once; nothing here reads one back.

import * as z from "zod";
import { Name, ReasonText, Timestamp } from "./values.ts";

const MAX_SECRET_CHARACTERS = 16_384;
const MAX_ORIGINS = 16;

/** `https://api.example.com`, or http for a loopback address: as a browser would write an origin, and nothing else. */
export function isOrigin(text: string): boolean {
  if (text.length > 300 || !URL.canParse(text)) return false;
  const { origin, protocol, hostname } = new URL(text);
  const isLoopback = /^(?:127(?:\.\d{1,3}){3}|\[::1\]|localhost)$/.test(hostname);
  // A URL's host may have characters that people read as wildcards; here it may not.
  const isPlain = /^(?:[a-z0-9.-]+|\[[0-9a-f:]+\])$/.test(hostname);
  return origin === text && isPlain && (protocol === "https:" || (protocol === "http:" && isLoopback));
}

export const Origin = z
  .string()
  .refine(
    isOrigin,
    "expected an origin like 'https://api.example.com', in lower case, without a path (http for a loopback address alone)",
  );

/** `postgres://db.example.com:5432`: a server of PostgreSQL's, always with its port. */
export function isPostgresOrigin(text: string): boolean {
  const [, host, port] = /^postgres:\/\/([a-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\]):([1-9]\d{0,4})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535 || !URL.canParse(`http://${host}`)) return false;
  // In one spelling: 127.1 and 0x7f.1 are addresses too.
  return new URL(`http://${host}`).hostname === host;
}

/** Where a root credential may be sent to. */
export function isSecretOrigin(text: string): boolean {
  return isOrigin(text) || isPostgresOrigin(text);
}

const SecretOrigin = z
  .string()
  .refine(
    isSecretOrigin,
    "expected an origin like 'https://api.example.com', in lower case, without a path (http for a loopback address alone), or 'postgres://db.example.com:5432'",
  );

export const SecretRequest = z.strictObject({
  value: z.string().min(1).max(MAX_SECRET_CHARACTERS),
  origins: z
    .array(SecretOrigin)
    .min(1)
    .max(MAX_ORIGINS)
    .refine((origins) => new Set(origins).size === origins.length, "expected each origin once"),
});
export type SecretRequest = z.infer<typeof SecretRequest>;

/** Everything about a root credential but the credential. */
export const SecretAnswer = z.object({
  /** A sealed secret's name, or `env:NAME`, `file:NAME`. */
  name: z.string(),
  source: z.enum(["sealed", "env", "file"]),
  version: z.int().nullable(),
  origins: z.array(z.string()).readonly(),
  createdAt: Timestamp.nullable(),
  createdBy: z.string().nullable(),
  /** Upstreams of the policy in force that use it. */
  upstreams: z.array(Name),
  /** Webhooks of the policy in force that sign with it. */
  webhooks: z.array(Name),
});
export type SecretAnswer = z.infer<typeof SecretAnswer>;

export const SecretList = z.object({ secrets: z.array(SecretAnswer) });
export type SecretList = z.infer<typeof SecretList>;

export const CANARY_KINDS = ["railway", "github", "stripe", "aws"] as const;
export type CanaryKind = (typeof CANARY_KINDS)[number];

export const CanaryRequest = z.strictObject({ like: z.enum(CANARY_KINDS), note: ReasonText.optional() });

export const Canary = z.object({
  id: z.string(),
  like: z.enum(CANARY_KINDS),
  note: z.string().nullable(),
  createdAt: Timestamp,
  createdBy: z.string(),
});
export type Canary = z.infer<typeof Canary>;

/** 201: the only time that its value is shown. */
export const CanaryAnswer = z.object({ canary: Canary, value: z.string() });
export type CanaryAnswer = z.infer<typeof CanaryAnswer>;

export const CanaryList = z.object({ canaries: z.array(Canary) });
export type CanaryList = z.infer<typeof CanaryList>;
