// What upstreams and webhooks say alike of what is sent out: the secret that goes with it, by its name alone, the private
// addresses that it may go to, and files with certificates.

import * as z from "zod";
import { isCidr } from "../core/cidr.ts";
import { isName } from "../core/names.ts";
import { strictObject } from "./strict-object.ts";

const MAX_BLOCKS = 64;
const MAX_PATH_LENGTH = 1024;

/** The secret's name, and never the secret: somebody will paste it here. */
function isSecretReference(reference: string): boolean {
  if (reference.startsWith("env:")) return /^env:(?!VALETKEY_)[A-Z][A-Z0-9_]{0,127}$/.test(reference);
  if (reference.startsWith("file:")) return /^file:[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(reference);
  const looksLikeOne = /[a-z0-9]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.test(reference);
  return isName(reference) && !looksLikeOne;
}

export const SecretReferenceText = z
  .string()
  .refine(
    isSecretReference,
    "expected the name of a sealed secret, or env:NAME, or file:NAME; never the secret itself",
  );

const Cidr = z
  .string()
  .refine(
    isCidr,
    "expected a block of addresses like '127.0.0.1/32' or 'fd00::/8', no wider than /8 and without bits beyond",
  );

export const PrivateAddresses = z
  .array(Cidr)
  .max(MAX_BLOCKS)
  .refine((blocks) => new Set(blocks).size === blocks.length, "expected each once")
  .default([])
  .describe("the only private addresses that may be connected to");

export const NamedFile = strictObject({
  file: z
    .string()
    .min(1)
    .max(MAX_PATH_LENGTH)
    .refine((path) => !path.includes("\0"), "expected a path")
    .describe("relative to the folder of this YAML file"),
});
