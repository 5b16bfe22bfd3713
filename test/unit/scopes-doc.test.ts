// The examples of docs/scopes.md are in order: what people copy must load.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { FileRead } from "../../src/scopes/named-files.ts";
import { WEBHOOK_EVENTS } from "../../src/scopes/settings.ts";
import { buildWith, problemsOf, resourceText, roleText } from "../support/scopes-text.ts";

const EXAMPLES = [...readFileSync("docs/scopes.md", "utf8").matchAll(/^```yaml\n(.*?)^```/gms)].map(
  ([, text = ""]) => text,
);
const WITH_RULES = EXAMPLES.filter((text) => /^type: (?:http|graphql)$|^kind: Settings/m.test(text));
const readFile = (): FileRead => ({ outcome: "read", text: "type Query { volume(id: String!): Int }" });

describe("docs/scopes.md", () => {
  it("has an example of every kind", () => {
    const kinds = EXAMPLES.map((text) => /^kind: (\w+)/.exec(text)?.[1]);
    expect(new Set(kinds)).toEqual(
      new Set(["Environment", "Agent", "Person", "Service", "Upstream", "Resource", "Role", "Settings"]),
    );
    expect(WITH_RULES).toHaveLength(3);
  });

  it("names every event that a webhook can hear of, and no other", () => {
    const [line = ""] = /^Events that can be sent: [^[]*/m.exec(readFileSync("docs/scopes.md", "utf8")) ?? [];
    const named = [...line.matchAll(/`([a-z.]+)`/g)].map(([, name]) => name);
    expect(new Set(named)).toEqual(new Set(WEBHOOK_EVENTS));
  });

  it.each(WITH_RULES)("has an example that loads: %#", (text) => {
    expect(problemsOf(buildWith(text, readFile))).toEqual([]);
  });

  it("shows a role whose limits load where it reaches no service", () => {
    const [http = ""] = WITH_RULES.filter((text) => text.includes("type: http"));
    const limits = /^limits:\n( {2}.*\n)+/m.exec(EXAMPLES.find((text) => text.startsWith("kind: Role")) ?? "")?.[0];
    expect(limits).toContain("uses");
    const role = roleText({ name: "x", permissions: "[{ actions: [charge:read], resources: ['stripe:account/*'] }]" });
    const resource = resourceText("stripe:account/main", "{ environment: staging }");
    expect(problemsOf(buildWith(`${http}---\n${resource}\n---\n${role}\n${limits ?? ""}`))).toEqual([]);
  });
});
