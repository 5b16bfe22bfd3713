// Rules 1 to 5 and 8 of the semantics as decisions, one test a rule: which requests are allowed, which are refused,
// and what a refusal names.

import { describe, expect, it } from "vitest";
import type { Reason } from "../../src/core/errors.ts";
import type { Decision, PolicyRequest } from "../../src/policy/decision.ts";
import { decide } from "../../src/policy/decide.ts";
import type { Agent } from "../../src/scopes/scope-set.ts";
import { makeAgent, makeScopeSet, permission, type RoleSpec } from "../support/scope-set-fixture.ts";

const SHOP = {
  environments: ["staging", "production"],
  upstreams: { shop: ["domain:read", "domain:write", "volume:read", "volume:delete"] },
  resources: {
    "shop:domain/web": { environment: ["staging"] },
    "shop:volume/cache": { environment: ["staging"] },
    "shop:volume/database": { environment: ["production"] },
    "shop:volume/shared": { environment: ["staging", "production"] },
    "shop:volume/lost": {},
    "shop:volume/odd": { environment: ["qa"] },
  },
} as const;

const EDITOR: RoleSpec = {
  name: "domain-editor",
  agents: { team: ["web"] },
  environments: ["staging"],
  permissions: [{ actions: ["domain:read", "domain:write"], resources: { type: ["domain"] } }],
};
const READER: RoleSpec = {
  name: "volume-reader",
  agents: { team: ["web"] },
  permissions: [{ actions: ["volume:read"], resources: { type: ["volume"] } }],
};
const KEEPER: RoleSpec = {
  name: "volume-keeper",
  agents: { team: ["platform"] },
  permissions: [{ actions: ["volume:delete"], resources: { type: ["volume"] } }],
};
const CROSSER: RoleSpec = {
  name: "crosser",
  agents: { team: ["web"] },
  crossing: { from: ["staging"], to: ["production"] },
  permissions: [{ actions: ["volume:read"], resources: { type: ["volume"] } }],
};
const APPROVALS = { approvals: { count: 2, from: ["oncall", "dba"], perTeam: true }, delaySeconds: 172_800 };

const coder = makeAgent("coder", { environment: ["staging"], team: ["web"] });

interface Situation extends Partial<Omit<PolicyRequest, "permissions">> {
  readonly roles?: readonly RoleSpec[];
  readonly agent?: Agent;
  readonly maxTtlSeconds?: number;
}

function ask(permissions: readonly string[], situation: Situation = {}): Decision {
  const { roles = [EDITOR, READER, KEEPER], agent = coder, maxTtlSeconds = 3600 } = situation;
  const request = {
    permissions: permissions.map(permission),
    role: situation.role ?? null,
    ttlSeconds: situation.ttlSeconds ?? null,
  };
  return decide(request, agent, makeScopeSet({ ...SHOP, roles }), { maxTtlSeconds });
}

function reasonsOf(decision: Decision): readonly Reason[] {
  if (decision.outcome !== "refused") throw new Error("expected a refusal");
  return decision.reasons;
}

function codesOf(decision: Decision): readonly string[] {
  return reasonsOf(decision).map(({ code }) => code);
}

describe("an allowed decision", () => {
  it("carries everything that a grant needs", () => {
    const decision = ask(["domain:write shop:domain/web", "domain:read shop:domain/web"], { role: "domain-editor" });
    expect(decision).toMatchObject({
      outcome: "allowed",
      role: { name: "domain-editor" },
      upstream: "shop",
      permissions: [
        { action: "domain:read", resource: "shop:domain/web", environments: ["staging"] },
        { action: "domain:write", resource: "shop:domain/web", environments: ["staging"] },
      ],
      environments: ["staging"],
      crossingFrom: null,
      ttlSeconds: 600,
      credentialTtlSeconds: 300,
    });
  });

  it("names a repeated permission once", () => {
    const decision = ask(["domain:read shop:domain/web", "domain:read shop:domain/web"]);
    expect(decision).toMatchObject({ outcome: "allowed", permissions: [{ action: "domain:read" }] });
    expect(decision.outcome === "allowed" && decision.permissions.length).toBe(1);
  });
});

describe("the environment check", () => {
  it("refuses a resource with a value that the agent lacks, and names the labels of both sides", () => {
    expect(reasonsOf(ask(["volume:read shop:volume/database"], { role: "volume-reader" }))).toEqual([
      {
        code: "environment_mismatch",
        message: "agent coder has environment staging; shop:volume/database has production",
        resource: "shop:volume/database",
        rule: "agent coder",
        labels: { agent: ["staging"], resource: ["production"] },
      },
    ]);
  });

  it("looks at every value of the label: sharing one does not suffice", () => {
    expect(codesOf(ask(["volume:read shop:volume/shared"]))).toEqual(["environment_mismatch"]);
    const both = makeAgent("both", { environment: ["production", "staging"], team: ["web"] });
    expect(ask(["volume:read shop:volume/shared"], { agent: both }).outcome).toBe("allowed");
  });

  it("refuses a resource without an environment", () => {
    expect(codesOf(ask(["volume:read shop:volume/lost"]))).toEqual(["environment_mismatch"]);
  });

  it("refuses an agent without an environment", () => {
    const homeless = makeAgent("homeless", { team: ["web"] });
    expect(reasonsOf(ask(["volume:read shop:volume/cache"], { agent: homeless }))[0]).toMatchObject({
      code: "environment_mismatch",
      message: "agent homeless has no environment; shop:volume/cache has staging",
    });
  });

  it("refuses an undeclared value, though both sides have it", () => {
    const agent = makeAgent("coder", { environment: ["qa"], team: ["web"] });
    expect(reasonsOf(ask(["volume:read shop:volume/odd"], { agent }))).toMatchObject([
      { code: "environment_mismatch", rule: "environment qa" },
    ]);
    const mixed = makeAgent("coder", { environment: ["staging", "qa"], team: ["web"] });
    expect(codesOf(ask(["volume:read shop:volume/cache"], { agent: mixed }))).toEqual(["environment_mismatch"]);
  });

  it("refuses an unknown resource", () => {
    expect(codesOf(ask(["volume:read shop:volume/none"], { role: "volume-reader" }))).toEqual(["resource_unknown"]);
  });

  it("comes before every other reason, and the others are named too", () => {
    const decision = ask(["volume:delete shop:volume/none", "volume:delete shop:volume/database"], {
      role: "domain-editor",
      ttlSeconds: 7200,
    });
    expect(codesOf(decision)).toEqual([
      "resource_unknown",
      "environment_mismatch",
      "role_does_not_permit",
      "role_does_not_permit",
      "role_does_not_permit",
      "role_does_not_permit",
    ]);
    expect(reasonsOf(decision).map(({ rule }) => rule)).toEqual([
      "resource shop:volume/none",
      "agent coder",
      "role domain-editor",
      "role domain-editor",
      "role domain-editor ttl.max",
      "VALETKEY_MAX_TTL",
    ]);
  });
});

describe("a named role", () => {
  it("is answered the same whether it does not exist or does not select the agent", () => {
    const hidden = reasonsOf(ask(["volume:delete shop:volume/cache"], { role: "volume-keeper" }));
    const absent = reasonsOf(ask(["volume:delete shop:volume/cache"], { role: "volume-keeper", roles: [EDITOR] }));
    expect(hidden).toEqual(absent);
    expect(hidden).toMatchObject([{ code: "no_role", rule: "role volume-keeper" }]);
  });

  it("must list the action, and the refusal says what would have to be added", () => {
    expect(reasonsOf(ask(["volume:delete shop:domain/web"], { role: "domain-editor" }))).toEqual([
      {
        code: "role_does_not_permit",
        message:
          "role domain-editor gives domain:read, domain:write here; volume:delete would have to be added to its permissions",
        action: "volume:delete",
        resource: "shop:domain/web",
        rule: "role domain-editor",
      },
    ]);
  });

  it("must cover the resource", () => {
    const [reason, ...others] = reasonsOf(ask(["domain:read shop:volume/cache"], { role: "domain-editor" }));
    expect(others).toEqual([]);
    expect(reason).toMatchObject({ code: "role_does_not_permit", rule: "role domain-editor" });
    expect(reason?.message).toContain("on other resources");
  });

  it("must be for the environments of the resource", () => {
    const both = makeAgent("both", { environment: ["production", "staging"], team: ["web"] });
    const roles = [{ ...READER, environments: ["staging"] }];
    const [reason] = reasonsOf(ask(["volume:read shop:volume/shared"], { agent: both, roles, role: "volume-reader" }));
    expect(reason?.message).toContain("is for the environments staging");
  });

  it("gives nothing that the upstream does not declare", () => {
    const roles = [{ ...READER, permissions: [{ actions: ["volume:wipe"], resources: { type: ["volume"] } }] }];
    expect(reasonsOf(ask(["volume:wipe shop:volume/cache"], { roles, role: "volume-reader" }))).toMatchObject([
      { code: "role_does_not_permit", rule: "upstream shop" },
    ]);
  });
});

describe("crossing", () => {
  it("lifts a mismatch where the agent has `from` and lacks only `to`", () => {
    expect(ask(["volume:read shop:volume/shared"], { roles: [CROSSER], role: "crosser" })).toMatchObject({
      outcome: "allowed",
      environments: ["production", "staging"],
      crossingFrom: ["staging"],
    });
  });

  it("is not noted where it was not needed", () => {
    expect(ask(["volume:read shop:volume/cache"], { roles: [CROSSER] })).toMatchObject({ crossingFrom: null });
  });

  it("does not lift a mismatch for an agent that lacks one value of `from`", () => {
    const roles = [{ ...CROSSER, crossing: { from: ["staging", "qa"], to: ["production"] } }];
    const refusal = ask(["volume:read shop:volume/database"], { roles, role: "crosser" });
    expect(codesOf(refusal)).toEqual(["environment_mismatch", "crossing_not_allowed"]);
  });

  it("does not lift a mismatch beyond `to`", () => {
    const agent = makeAgent("coder", { environment: ["production"], team: ["web"] });
    const roles = [{ ...CROSSER, crossing: { from: ["production"], to: ["qa"] } }];
    const refusal = ask(["volume:read shop:volume/shared"], { agent, roles, role: "crosser" });
    expect(codesOf(refusal)).toEqual(["environment_mismatch", "crossing_not_allowed"]);
  });

  it("lifts nothing with an empty `from`", () => {
    const roles = [{ ...CROSSER, crossing: { from: [], to: ["production"] } }];
    expect(ask(["volume:read shop:volume/database"], { roles }).outcome).toBe("refused");
  });

  it("does not lift an undeclared value or a missing label", () => {
    const roles = [{ ...CROSSER, crossing: { from: ["staging"], to: ["production", "qa"] } }];
    expect(codesOf(ask(["volume:read shop:volume/odd"], { roles, role: "crosser" }))).toEqual(["environment_mismatch"]);
    expect(codesOf(ask(["volume:read shop:volume/lost"], { roles, role: "crosser" }))).toEqual([
      "environment_mismatch",
    ]);
  });
});

describe("requirements", () => {
  const held = {
    ...READER,
    permissions: [
      ...READER.permissions,
      { ...READER.permissions[0], actions: ["volume:read"], resources: { type: ["volume"] }, requires: APPROVALS },
    ],
  };

  it("hold what is asked, and say what is demanded for which permission", () => {
    const decision = ask(["volume:read shop:volume/cache"], { roles: [held], role: held.name });
    expect(decision).toMatchObject({
      outcome: "held",
      role: { name: "volume-reader" },
      demands: [
        {
          permissions: [{ action: "volume:read", resource: "shop:volume/cache" }],
          requires: { approvals: { count: 2, from: ["oncall", "dba"], perTeam: true }, delaySeconds: 172_800 },
        },
      ],
    });
  });

  it("hold although the same role gives the permission without them too", () => {
    expect(held.permissions[0]).not.toHaveProperty("requires");
    expect(ask(["volume:read shop:volume/cache"], { roles: [held] })).toMatchObject({ outcome: "held" });
  });

  it("of a reason alone hold too", () => {
    const roles = [
      {
        ...READER,
        permissions: [{ actions: ["volume:read"], resources: { type: ["volume"] }, requires: { reason: true } }],
      },
    ];
    expect(ask(["volume:read shop:volume/cache"], { roles })).toMatchObject({ outcome: "held" });
  });

  it("that are alike for several permissions are one demand, and otherwise one each, in an order of their own", () => {
    const permissions = [
      { actions: ["volume:read", "volume:delete"], resources: { type: ["volume"] }, requires: APPROVALS },
      { actions: ["volume:read"], resources: { type: ["volume"] }, requires: { reason: true } },
    ];
    const asked = ["volume:delete shop:volume/cache", "volume:read shop:volume/cache"];
    const decision = ask(asked, { roles: [{ ...READER, permissions }] });
    if (decision.outcome !== "held") throw new Error("expected it to be held");
    const actions = decision.demands.map(({ permissions: asks }) => asks.map(({ action }) => action).join(" "));
    expect(actions.toSorted()).toEqual(["volume:delete volume:read", "volume:read"]);
    const turned = ask(asked.toReversed(), { roles: [{ ...READER, permissions: permissions.toReversed() }] });
    expect(turned).toMatchObject({ demands: decision.demands });
  });
});

describe("ttl", () => {
  const roles = [{ ...READER, ttl: { defaultSeconds: 600, maxSeconds: 900, credentialSeconds: 300 } }];
  const cache = ["volume:read shop:volume/cache"];

  it("is the role's default where none is asked, bounded by the broker's", () => {
    expect(ask(cache, { roles })).toMatchObject({ ttlSeconds: 600, credentialTtlSeconds: 300 });
    expect(ask(cache, { roles, maxTtlSeconds: 120 })).toMatchObject({ ttlSeconds: 120, credentialTtlSeconds: 120 });
  });

  it("is what was asked up to ttl.max, and refused above", () => {
    expect(ask(cache, { roles, ttlSeconds: 900 })).toMatchObject({ ttlSeconds: 900 });
    expect(reasonsOf(ask(cache, { roles, ttlSeconds: 901 }))).toMatchObject([
      { code: "role_does_not_permit", rule: "role volume-reader ttl.max" },
    ]);
  });

  it("is refused above the broker's", () => {
    expect(reasonsOf(ask(cache, { roles, ttlSeconds: 600, maxTtlSeconds: 599 }))).toMatchObject([
      { code: "role_does_not_permit", rule: "VALETKEY_MAX_TTL" },
    ]);
  });

  it("that is no positive number is refused", () => {
    for (const ttlSeconds of [0, -1, Number.NaN])
      expect(codesOf(ask(cache, { ttlSeconds }))).toEqual(["malformed_request"]);
  });
});

describe("without a named role", () => {
  const narrow: RoleSpec = { ...READER, name: "narrow", breadth: 1 };
  const wide: RoleSpec = { ...READER, name: "a-wide", breadth: 9 };
  const cache = ["volume:read shop:volume/cache"];

  it("the one of least breadth is picked, then the shorter ttl.max, then the name", () => {
    expect(ask(cache, { roles: [wide, narrow] })).toMatchObject({ role: { name: "narrow" } });
    const short = { ...wide, name: "short", breadth: 1, ttl: { maxSeconds: 900 } };
    expect(ask(cache, { roles: [narrow, short] })).toMatchObject({ role: { name: "short" } });
    expect(ask(cache, { roles: [narrow, { ...narrow, name: "aaa" }] })).toMatchObject({ role: { name: "aaa" } });
  });

  it("the narrowest is not picked where another would demand more", () => {
    const roles = [
      narrow,
      { ...wide, permissions: [{ actions: ["volume:read"], resources: { type: ["volume"] }, requires: APPROVALS }] },
    ];
    const decision = ask(cache, { roles });
    expect(decision).toMatchObject({ role: null, reasons: [{ code: "role_ambiguous" }] });
    expect(reasonsOf(decision)[0]?.message).toContain("a-wide, narrow");
  });

  it("the narrowest is picked where it demands what the others do", () => {
    const permissions = [{ actions: ["volume:read"], resources: { type: ["volume"] }, requires: APPROVALS }];
    const decision = ask(cache, { roles: [{ ...narrow, permissions }, wide] });
    expect(decision).toMatchObject({ outcome: "held", role: { name: "narrow" } });
  });

  it("a role that does not cover the whole request is no candidate", () => {
    const both = {
      ...wide,
      permissions: [{ actions: ["volume:read", "domain:read"], resources: { environment: ["staging"] } }],
    };
    expect(ask([...cache, "domain:read shop:domain/web"], { roles: [narrow, both] })).toMatchObject({
      role: { name: "a-wide" },
    });
    expect(ask(cache, { roles: [{ ...narrow, ttl: { maxSeconds: 60 } }, wide], ttlSeconds: 90 })).toMatchObject({
      role: { name: "a-wide" },
    });
  });

  it("says no_role where nothing gives the action to this agent", () => {
    expect(reasonsOf(ask(["volume:delete shop:volume/cache"]))).toEqual([
      {
        code: "no_role",
        message: "no role gives volume:delete to agent coder; a role that selects it would have to",
        action: "volume:delete",
        resource: "shop:volume/cache",
      },
    ]);
  });

  it("names at most five roles that give the action elsewhere", () => {
    const roles = Array.from({ length: 7 }, (_, i) => ({ ...EDITOR, name: `editor-${i}` }));
    const [reason] = reasonsOf(ask(["domain:read shop:volume/cache"], { roles }));
    expect(reason).toMatchObject({
      code: "role_does_not_permit",
      rule: "roles editor-0, editor-1, editor-2, editor-3, editor-4",
    });
    expect(reason?.message).toContain("and 2 more");
  });

  it("says so where only several roles together give it all", () => {
    const [reason] = reasonsOf(ask([...cache, "domain:read shop:domain/web"]));
    expect(reason).toMatchObject({ code: "role_does_not_permit", rule: "roles domain-editor, volume-reader" });
  });
});

describe("a request that has no meaning", () => {
  it("is refused: no permissions, or several upstreams", () => {
    expect(codesOf(ask([]))).toEqual(["malformed_request"]);
    expect(codesOf(ask(["volume:read shop:volume/cache", "volume:read other:volume/cache"]))).toEqual([
      "malformed_request",
    ]);
  });
});
