// docs/identity.md against the table of routes, the powers and the limits of proofs.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { POWERS, type Route } from "../../src/api/route.ts";
import { ROUTES } from "../../src/api/routes.ts";
import { MAX_PROOF_LENGTH, MAX_PROOF_LIFE_SECONDS, PROOF_ALGORITHMS, PROOF_TYPE } from "../../src/core/proof.ts";

const text = readFileSync(join(import.meta.dirname, "../../docs/identity.md"), "utf8");
const routes = Object.values<Route>(ROUTES);

describe("docs/identity.md", () => {
  it("says of each route who may call it", () => {
    const documented = [...text.matchAll(/^\| `([A-Z]+ \/\S+)` \| (.+) \|$/gm)].map(([, route, who]) => [route, who]);
    const table = routes.flatMap(({ method, path, who }) => {
      if (who === null) return [];
      const callers = [
        ...(who.agents ? ["agents"] : []),
        ...(who.services ? ["services"] : []),
        ...who.powers.map((power) => `\`${power}\``),
      ];
      return [[`${method} ${path}`, callers.join(", ")]];
    });
    expect(documented).toEqual(table);
  });

  it("names what is public", () => {
    const line = /^Public, without a proof: (.+)$/m.exec(text)?.[1] ?? "";
    const open = routes.filter(({ who }) => who === null).map(({ path }) => path);
    expect([...line.matchAll(/`([^`]+)`/g)].map(([, path = ""]) => path).toSorted()).toEqual(open.toSorted());
  });

  it("lists the powers, and the limits of a proof as they are", () => {
    const powers = [...text.matchAll(/^\| `([a-z]+)` \| .+ \|$/gm)].map(([, name]) => name);
    expect(powers).toEqual(expect.arrayContaining([...POWERS]));
    for (const fact of [
      ...PROOF_ALGORITHMS,
      PROOF_TYPE,
      String(MAX_PROOF_LIFE_SECONDS),
      MAX_PROOF_LENGTH.toLocaleString("en-US"),
    ])
      expect(text).toContain(fact);
  });
});
