// The table of error codes against docs/errors.md, both ways, and against the code: none that is never used.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BrokerError, ERRORS } from "../../src/core/errors.ts";

const ROOT = join(import.meta.dirname, "../..");
const text = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
const rows = [...text.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| (.+?) \| (.+?) \|$/gm)].map(
  ([, code, status, meaning, advice]) => ({ code, status: Number(status), meaning, advice }),
);

describe("docs/errors.md", () => {
  it("has one row for each code, with its status and its title, and no other", () => {
    const table = Object.entries(ERRORS).map(([code, { status, title }]) => ({ code, status, meaning: title }));
    expect(rows.map(({ code, status, meaning }) => ({ code, status, meaning }))).toEqual(table);
  });

  it("says of each what to do", () => {
    for (const { code, advice } of rows) expect(advice?.length ?? 0, code).toBeGreaterThan(15);
  });
});

describe("a code", () => {
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && file !== join("core", "errors.ts"))
    .map((file) => readFileSync(join(ROOT, "src", file), "utf8"));

  it.each(Object.keys(ERRORS))("%s is given by something outside its table", (code) => {
    expect(sources.length).toBeGreaterThan(50);
    const given = new RegExp(`(?:BrokerError\\(\\s*|code: |deny\\(\\s*|refusal\\(\\s*)"${code}"`);
    expect(sources.some((source) => given.test(source))).toBe(true);
  });
});

describe("an error", () => {
  it("has the status of its code, and what is public apart from its cause", () => {
    const cause = new Error("sk_live_marker");
    const error = new BrokerError("limit_reached", "wait", { retryAfterSeconds: 5, cause });
    expect(error).toMatchObject({ status: 429, detail: "wait", message: "wait", reasons: [], retryAfterSeconds: 5 });
    expect(JSON.stringify(error)).not.toContain("sk_live_marker");
    expect(new BrokerError("internal", "x")).toMatchObject({ status: 500, retryAfterSeconds: null, cause: undefined });
  });
});
