// Whether what a broker shows of a request is what would be signed (semantics, rule 21): digest, bytes, hold and broker are
// worked out here from what is shown, never believed. Pure.

import { hash } from "node:crypto";
import type { HoldAnswer } from "../api/holds.ts";
import { digestOfHold, type HoldDocument } from "../core/hold-document.ts";
import { showExact } from "./exact-text.ts";

/** More than a person reads. A broker holds nothing larger. */
const MAX_BODY_BYTES = 65_536;

/** Everything that differs, for people; empty where what is shown is what is signed. */
export function findDifferences(
  { hold, document, body }: HoldAnswer,
  { id, issuer }: { readonly id: string; readonly issuer: string },
): readonly string[] {
  const differences: string[] = [];
  for (const [name, found] of [
    ["the document", document.hold],
    ["the answer", hold.id],
  ] as const) {
    if (found !== id) differences.push(`${name} is of hold ${showExact(found)}, expected ${showExact(id)}`);
  }
  if (document.issuer !== issuer) {
    differences.push(
      `the document is of the broker ${showExact(document.issuer)}, expected ${issuer}: where that is its name, set VALETKEY_ISSUER`,
    );
  }
  const digest = digestShown(document);
  if (digest === null) differences.push("the document has no canonical form, so that nobody can sign it");
  else if (digest !== hold.digest) {
    differences.push(`the document's digest is ${digest}, and the broker says ${showExact(hold.digest)}`);
  }
  return [...differences, ...findBodyDifferences(document, body)];
}

/** Worked out from the document; null where nothing can be, as of half a pair of UTF-16. */
export function digestShown(document: HoldDocument): string | null {
  try {
    return digestOfHold(document);
  } catch {
    return null;
  }
}

function findBodyDifferences({ subject }: HoldDocument, text: string | null): readonly string[] {
  const named = subject.kind === "call" ? subject.body : null;
  if (named === null) return text === null ? [] : ["there is a body, and the document names none"];
  if (text === null) return ["the document names a body, and none is shown"];
  // Half a pair of UTF-16 would be sent as another character than the one that is shown.
  if (!text.isWellFormed()) return ["the body is not text, so that it cannot be shown whole"];
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_BODY_BYTES) {
    return [`the body has ${bytes.length} bytes, more than the ${MAX_BODY_BYTES} that a person can be shown`];
  }
  const differences: string[] = [];
  if (bytes.length !== named.bytes) {
    differences.push(`the body that is shown has ${bytes.length} bytes, and the document says ${named.bytes}`);
  }
  const sha256 = hash("sha256", bytes, "hex");
  if (sha256 !== named.sha256) {
    differences.push(
      `the body that is shown has the SHA-256 ${sha256}, and the document says ${showExact(named.sha256)}`,
    );
  }
  return differences;
}
