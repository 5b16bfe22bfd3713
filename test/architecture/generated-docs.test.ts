// What is derived from source and committed must be what the source says.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { VERSION } from "../../src/version.ts";
import { generatedFiles, ROOT } from "../support/generate.ts";

function read(path: string): string | null {
  const full = join(ROOT, path);
  return existsSync(full) ? readFileSync(full, "utf8") : null;
}

describe("generated documents", () => {
  const files = [...generatedFiles()];

  it.each(files)("%s is what `npm run generate` writes", (path, text) => {
    // Not a diff of thousands of lines.
    expect(read(path) === text, `${path} differs: run npm run generate`).toBe(true);
  });

  it("are all of docs/schemas: no schema outlives its kind", () => {
    const expected = files.map(([path]) => path).filter((path) => path.startsWith("docs/schemas/"));
    expect(
      readdirSync(join(ROOT, "docs/schemas"))
        .map((name) => `docs/schemas/${name}`)
        .toSorted(),
    ).toEqual(expected.toSorted());
    expect(expected.length).toBeGreaterThan(5);
  });

  it("the version of the build is that of the package", () => {
    const manifest: unknown = JSON.parse(read("package.json") ?? "{}");
    expect(manifest).toMatchObject({ version: VERSION });
  });
});
