// docs/metrics.md has the metrics that there are, by name and kind; and none has a series of what somebody asks for.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createMetrics } from "../../src/http/metrics.ts";
import type { Readiness } from "../../src/http/readiness.ts";

const READINESS: Readiness = {
  problems: ["the store does not answer, or takes no writes"],
  notes: [],
  isWritable: false,
  isCurrent: true,
  hasLostPast: false,
  hasParted: false,
  policy: { digest: "a".repeat(64), inForce: null, isMismatched: false, pending: null },
  providers: {
    upstreams: [{ name: "shop-db", kind: "postgres", circuit: "open", faults: null, notes: [] }],
    unconfirmed: 3,
  },
};

describe("docs/metrics.md", () => {
  it("has every metric, with its labels and its kind, and no other", async () => {
    const metrics = createMetrics("1.2.3");
    metrics.answered("requestGrant", 201, 0.01);
    const text = await metrics.render(READINESS);
    const kinds = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", kind = ""]) => {
      const labels = new RegExp(`^${name}(?:_bucket)?\\{([^}]*)\\}`, "m").exec(text)?.[1] ?? "";
      const names = [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label).filter((label) => label !== "le");
      return `${names.length === 0 ? name : `${name}{${names.join(",")}}`} ${kind}`;
    });
    const page = readFileSync(join(import.meta.dirname, "../../docs/metrics.md"), "utf8");
    const documented = [...page.matchAll(/^\| `([^`]+)` \| (\w+)/gm)].map(([, name, kind]) => `${name} ${kind}`);
    expect(documented.toSorted()).toEqual(kinds.toSorted());
  });
});

describe("the metrics of a broker", () => {
  it("say what it is now, and nothing of what it was", async () => {
    const metrics = createMetrics("1.2.3");
    await metrics.render({ ...READINESS, policy: { ...READINESS.policy, digest: "b".repeat(64) } });
    const text = await metrics.render(READINESS);
    expect(text).toContain("valetkey_ready 0\n");
    expect(text).toContain("valetkey_store_writable 0\n");
    expect(text).toContain("valetkey_store_current 1\n");
    expect(text).toContain(`valetkey_policy_info{digest="${"a".repeat(64)}",in_force=""} 1\n`);
    expect(text).toContain('valetkey_upstream_circuit{upstream="shop-db"} 2\n');
    expect(text).toContain("valetkey_credentials_unconfirmed 3\n");
    expect(text).not.toContain("b".repeat(64));
  });
});
