// Makes the documents that are derived from source: docs/openapi.json and docs/schemas/. `npm run generate` writes
// them, a test compares them; nobody edits them by hand.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { makeOpenApi } from "../../src/api/openapi.ts";
import { emitSchemas } from "../../src/scopes/documents.ts";
import { VERSION } from "../../src/version.ts";

export const ROOT = resolve(import.meta.dirname, "../..");

/** Path from the root of the repository to text. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const schemas = Object.entries(emitSchemas()).map(
    ([name, schema]) => [`docs/schemas/${name}`, toText(schema)] as const,
  );
  return new Map([["docs/openapi.json", toText(makeOpenApi(VERSION))], ...schemas]);
}

function toText(document: unknown): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

if (import.meta.main) {
  for (const [path, text] of generatedFiles()) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), text);
    console.log(`wrote ${path}`);
  }
}
