// Files that documents name: public keys, certificates, schemas. Read within limits, checked in form. What is private is
// refused wherever it turns up, and nothing that was read is ever repeated.

import { X509Certificate } from "node:crypto";
import { dirname, isAbsolute, join } from "node:path";
import type { ScopeDocument } from "./documents.ts";
import { MAX_KEY_FILE_BYTES, parseKeyFile } from "./key-document.ts";
import type { ParsedDocument } from "./parsed-document.ts";
import type { PublicJwk } from "./scope-set.ts";

const KIBIBYTE = 1024;
const MAX_CA_BYTES = 64 * KIBIBYTE;
const MAX_SCHEMA_BYTES = 2 * KIBIBYTE * KIBIBYTE;
/** Of any one of them. */
export const MAX_NAMED_FILE_BYTES = MAX_SCHEMA_BYTES;
const MAX_TOTAL_BYTES = 16 * KIBIBYTE * KIBIBYTE;

export type FileRead =
  | { readonly outcome: "read"; readonly text: string }
  | { readonly outcome: "missing" }
  | { readonly outcome: "failed"; readonly message: string };

/** Reads a file by its path, at most one byte more than `maxBytes`. */
export type ReadNamedFile = (path: string, maxBytes: number) => FileRead;

/** Says what is wrong with the file that is named at this path of the document. */
type ComplainOfFile = (path: readonly PropertyKey[], message: string) => void;

/** The same, until all files together are too large. */
export function limitTotal(read: ReadNamedFile): ReadNamedFile {
  let total = 0;
  return (path, maxBytes) => {
    const file = read(path, maxBytes);
    if (file.outcome === "read") total += Buffer.byteLength(file.text);
    if (total <= MAX_TOTAL_BYTES) return file;
    return {
      outcome: "failed",
      message: `expected at most ${MAX_TOTAL_BYTES} bytes in all files that documents name, found more`,
    };
  };
}

/** What this document names, read. A key that is missing is null; a certificate or schema that is missing is a fault. */
export function readNamedFiles(
  yamlFile: string,
  document: ScopeDocument,
  read: ReadNamedFile,
  complain: ComplainOfFile,
): Pick<ParsedDocument, "keyFiles" | "texts"> {
  const open = (path: string, maxBytes: number): FileRead => {
    const file = read(isAbsolute(path) ? path : join(dirname(yamlFile), path), maxBytes);
    if (file.outcome !== "read" || Buffer.byteLength(file.text) <= maxBytes) return file;
    return { outcome: "failed", message: `expected a file of at most ${maxBytes} bytes, found more` };
  };
  if ("keys" in document) return readKeys(document.keys, open, complain);
  if (document.kind === "Upstream" && document.type !== "service") return readTexts(document, open, complain);
  return {};
}

function readKeys(
  keys: Extract<ScopeDocument, { keys: unknown }>["keys"],
  open: ReadNamedFile,
  complain: ComplainOfFile,
): Pick<ParsedDocument, "keyFiles"> {
  const found = new Map<string, PublicJwk | null>();
  for (const [index, key] of keys.entries()) {
    if (!("file" in key)) continue;
    const read = open(key.file, MAX_KEY_FILE_BYTES);
    if (read.outcome === "missing") {
      found.set(key.file, null);
      continue;
    }
    const parsed = read.outcome === "failed" ? read : parseKeyFile(read.text);
    if ("key" in parsed) found.set(key.file, parsed.key);
    else complain(["keys", index, "file"], parsed.message);
  }
  return found.size > 0 ? { keyFiles: found } : {};
}

function readTexts(
  document: Extract<ScopeDocument, { type: "http" | "graphql" | "postgres" | "aws" }>,
  open: ReadNamedFile,
  complain: ComplainOfFile,
): Pick<ParsedDocument, "texts"> {
  const texts = new Map<"ca" | "schema", string>();
  const take = (key: "ca" | "schema", file: string, maxBytes: number, findFault: (text: string) => string | null) => {
    const read = open(file, maxBytes);
    const fault = read.outcome === "read" ? findFault(read.text) : describe(read);
    if (fault !== null) complain([key, "file"], fault);
    else if (read.outcome === "read") texts.set(key, read.text);
  };
  if (document.ca !== undefined) take("ca", document.ca.file, MAX_CA_BYTES, findCaFault);
  if (document.type === "graphql" && document.schema !== undefined) {
    take("schema", document.schema.file, MAX_SCHEMA_BYTES, () => null);
  }
  return texts.size > 0 ? { texts } : {};
}

function describe(read: Exclude<FileRead, { outcome: "read" }>): string {
  return read.outcome === "failed" ? read.message : "expected a file, found none: it is relative to this YAML file";
}

function findCaFault(pem: string): string | null {
  if (pem.includes("PRIVATE KEY")) {
    return "expected certificates alone, found a private key: take it out and treat it as leaked";
  }
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return certificates.length > 0 && certificates.every(isCertificate)
    ? null
    : "expected certificates in PEM (BEGIN CERTIFICATE), found something else";
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
