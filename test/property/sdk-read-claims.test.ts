// The verifier reads claims by hand; whatever a payload holds, it must decide as the schema of the wire contract does.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CredentialClaims } from "../../src/api/claims.ts";
import { readClaims } from "../../src/sdk/read-claims.ts";

const GOOD = {
  iss: "https://broker.example",
  sub: "coder",
  aud: "https://shop.example",
  client_id: "coder",
  iat: 1,
  exp: 2,
  jti: "crd_1",
  authorization_details: [
    { type: "capability", actions: ["volume:read"], identifier: "shop:volume/vol_1" },
    { type: "capability", actions: ["volume:read", "volume:write"], identifier: "shop:volume/vol_2" },
  ],
  grants: ["grt_1", "grt_2"],
  task: "t",
  role: "r",
  environment: ["staging"],
  from: ["production"],
};

/** Every place in a good payload at which something else could stand. */
function placesOf(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => placesOf(inner, [...path, key]))];
}

function withAt(value: unknown, [key, ...rest]: readonly string[], replacement: unknown): unknown {
  if (key === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item: unknown, i) => (String(i) === key ? withAt(item, rest, replacement) : item));
  return Object.fromEntries(
    Object.entries(value ?? {}).map(([name, inner]) => [name, name === key ? withAt(inner, rest, replacement) : inner]),
  );
}

const odd = fc.oneof(
  fc.constantFrom<unknown>(null, undefined, 0, -1, 1.5, 2 ** 53, -(2 ** 53), true, "", "crd_", "grt_", "capability"),
  fc.constantFrom<unknown>([], {}, [""], ["grt_1", 7], [[]], [{}], { 0: "grt_1", length: 1 }, [undefined]),
  fc.constantFrom<unknown>(
    [{ type: "capability", actions: [], identifier: "a" }],
    "Capability",
    [null],
    "crd",
    " grt_1",
  ),
  fc.jsonValue(),
);

describe("the claims of a credential", () => {
  it("are accepted, refused and read as the schema does, whatever stands at any place of them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...placesOf(GOOD).slice(1)), odd), { maxLength: 2 }),
        fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 2 }),
        (changes, more) => {
          const changed = changes.reduce<unknown>((value, [path, other]) => withAt(value, path, other), {
            ...more,
            ...GOOD,
          });
          // What arrives has been through JSON.
          const payload = JSON.parse(JSON.stringify(changed)) as Record<string, unknown>;
          const parsed = CredentialClaims.safeParse(payload);
          expect(readClaims(payload)).toEqual(parsed.success ? parsed.data : null);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it.each(Object.keys(GOOD))("are refused without '%s' where the schema refuses that", (name) => {
    const payload = Object.fromEntries(Object.entries(GOOD).filter(([key]) => key !== name));
    const parsed = CredentialClaims.safeParse(payload);
    expect(parsed.success).toBe(name === "from");
    expect(readClaims(payload)).toEqual(parsed.success ? parsed.data : null);
  });
});
