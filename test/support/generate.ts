// Makes what is derived from source: docs/openapi.json, docs/schemas/, and the policy that the demo plays on, which is
// scopes/ as it is shipped. `npm run generate` writes them, a test compares them; nobody edits them by hand.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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
  return new Map([
    ["docs/openapi.json", toText(makeOpenApi(VERSION))],
    ["src/cli/demo-policy.json", toText(readShippedPolicy())],
    ...schemas,
  ]);
}

/** Path below scopes/ to text. */
function readShippedPolicy(): Readonly<Record<string, string>> {
  const folder = join(ROOT, "scopes");
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.ya?ml$/.test(path))
    .map((path) => path.replaceAll("\\", "/"))
    .toSorted();
  return Object.fromEntries(paths.map((path) => [path, readFileSync(join(folder, path), "utf8")]));
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
