// Upstreams of type postgres: what their definitions may not say, and which roles of the server a grant stands for.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deriveProviderPolicy } from "../../src/policy/provider-policy.ts";
import { decide } from "../../src/policy/decide.ts";
import type { ScopeSet } from "../../src/scopes/scope-set.ts";
import { isPostgresOrigin } from "../../src/api/secrets.ts";
import { makeCertificate } from "../support/make-certificate.ts";
import { buildWith, problemsOf, resourceText, roleText } from "../support/scopes-text.ts";

const TEMPLATES = `
  - { action: data:read, resource: database/db, role: reader }
  - { action: data:read, resource: schema/a, role: "reader of a" }
  - { action: data:read, resource: schema/a, role: helper }
  - { action: data:migrate, resource: database/db, role: migrator, owns: true }
  - { action: data:migrate, resource: schema/a, role: other, owns: true }`;

function text(lines: Readonly<Record<string, string>> = {}): string {
  const keys = {
    kind: "Upstream",
    name: "db",
    type: "postgres",
    environment: "staging",
    origin: "postgres://db.example.com:5432",
    database: "db",
    credential: "{ user: valetkey, secret: db-broker }",
    actions: "{ data:read: { risk: read }, data:migrate: { risk: destructive }, data:idle: { risk: read } }",
    templates: TEMPLATES,
    ...lines,
  };
  return Object.entries(keys)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}: ${value}`)
    .join("\n");
}

const CERTIFICATE = makeCertificate(["DNS:db.example.com"]).cert;
const template = (fields: string): { readonly templates: string } => ({ templates: `[{ ${fields} }]` });

function load(more = ""): ScopeSet {
  const built = buildWith(
    [
      text(),
      ...["database/db", "schema/a", "schema/none"].map((path) =>
        resourceText(`db:${path}`, "{ environment: staging }"),
      ),
      more,
    ]
      .filter((part) => part !== "")
      .join("\n---\n"),
  );
  if (!("set" in built)) throw new Error(problemsOf(built).join("\n"));
  return built.set;
}

const asked = (action: string, path: string) => ({ action, resource: { id: `db:${path}` } });

describe("an upstream of type postgres", () => {
  const refused: readonly (readonly [what: string, lines: Readonly<Record<string, string>>, message: string])[] = [
    ["no port", { origin: "postgres://db.example.com" }, "with its port"],
    ["another protocol", { origin: "https://db.example.com:5432" }, "expected the server's address"],
    ["a user in its address", { origin: "postgres://me@db.example.com:5432" }, "expected the server's address"],
    ["a path in its address", { origin: "postgres://db.example.com:5432/db" }, "expected the server's address"],
    ["an environment that is not there", { environment: "nowhere" }, 'found "nowhere"'],
    ["no templates", { templates: "[]" }, "expected at least 1 items"],
    [
      "a template of PostgreSQL's",
      template("action: data:read, resource: a/b, role: pg_read_all_data"),
      "begin with pg_",
    ],
    ["a template of the broker", template("action: data:read, resource: a/b, role: valetkey"), "the broker's own"],
    ["a pattern", template("action: data:read, resource: 'database/*', role: reader"), "without '*'"],
    [
      "a whole resource id",
      template("action: data:read, resource: 'db:database/db', role: reader"),
      "without the upstream's name",
    ],
    [
      "an action that it does not declare",
      template("action: data:drop, resource: a/b, role: reader"),
      'found "data:drop"',
    ],
    [
      "a role's name that is cut",
      template(`action: data:read, resource: a/b, role: ${"x".repeat(64)}`),
      "1 to 63 bytes",
    ],
    [
      "a role's name of 64 bytes",
      template(`action: data:read, resource: a/b, role: ${"é".repeat(32)}`),
      "1 to 63 bytes",
    ],
    ["a line end in a role's name", template('action: data:read, resource: a/b, role: "a\\nb"'), "control characters"],
    ["a broker's role of PostgreSQL's", { credential: "{ user: pg_monitor, secret: x }" }, "begin with pg_"],
    [
      "a password in place of its name",
      { credential: "{ user: valetkey, secret: 0123456789abcdef0123456789abcdef }" },
      "never the secret itself",
    ],
    ["certificates without TLS", { tls: "false", ca: "{ file: ca.pem }" }, "`tls` is false"],
    ["no connections", { session: "{ connections: 0 }" }, "expected at least 1"],
    ["an unknown key", { role: "reader" }, "expected only the keys"],
  ];
  it.each(refused)("is refused with %s", (_, lines, message) => {
    const read = () => ({ outcome: "read", text: CERTIFICATE }) as const;
    expect(problemsOf(buildWith(text(lines), read)).join("\n")).toContain(message);
  });

  it("takes names of any letters, and no role twice under one permission counts twice", () => {
    const names = ['say "x"', "it's", "Größe 🗝", "x".repeat(63)];
    for (const name of names) {
      const lines = template(`action: data:read, resource: a/b, role: ${JSON.stringify(name)}`);
      expect(problemsOf(buildWith(text(lines)))).toEqual([]);
    }
  });

  it("warns of an action that no template has", () => {
    expect(load().warnings.join("\n")).toContain("declares data:idle, and no template has it");
  });

  it("is in one environment, and its resources are there", () => {
    const elsewhere = resourceText("db:database/db", "{ environment: production }");
    expect(problemsOf(buildWith(`${text()}\n---\n${elsewhere}`)).join("\n")).toContain('with "staging"');
  });

  it("takes no `uses`, which only the gateway can count", () => {
    const role = `${roleText({ name: "reader", permissions: "[{ actions: [data:read], resources: { upstream: db } }]" })}\nlimits: { uses: 5 }`;
    expect(problemsOf(buildWith(`${text()}\n---\n${role}`)).join("\n")).toContain("expected no `uses`");
  });

  it("has addresses that mean one server: a host in one spelling, and a port", () => {
    for (const good of [
      "postgres://a:1",
      "postgres://127.0.0.1:5432",
      "postgres://[::1]:5432",
      "postgres://db.x:65535",
    ])
      expect([good, isPostgresOrigin(good)]).toEqual([good, true]);
    for (const bad of [
      "postgres://127.1:5432",
      "postgres://0x7f000001:5432",
      "postgres://A:5432",
      "postgres://a:05432",
      "postgres://a:65536",
      "postgres://a:0",
      "postgres://[::0001]:5432",
      "postgres://a b:5432",
      "postgres://a:5432?x=1",
      "postgresql://a:5432",
      "postgres://a:5432\n",
    ])
      expect([bad, isPostgresOrigin(bad)]).toEqual([bad, false]);
  });
});

describe("what a grant stands for at PostgreSQL", () => {
  const scopes = load();

  it("is the roles of its permissions, each once, in order", () => {
    const derived = deriveProviderPolicy(
      "db",
      [asked("data:read", "schema/a"), asked("data:read", "database/db")],
      scopes,
    );
    expect(derived).toEqual({
      policy: {
        kind: "postgres",
        address: "postgres://db.example.com:5432/db",
        roles: ["helper", "reader", "reader of a"],
        owner: null,
        connections: 5,
        statementTimeoutMs: 60_000,
      },
      reasons: [],
    });
  });

  it("is nothing where one of them has no template: all is refused, and the reason names it", () => {
    const derived = deriveProviderPolicy(
      "db",
      [asked("data:read", "schema/a"), asked("data:read", "schema/none")],
      scopes,
    );
    expect(derived.policy).toBeNull();
    expect(derived.reasons).toMatchObject([{ code: "operation_unlisted", rule: "upstream db templates" }]);
    expect(derived.reasons[0]?.message).toContain("data:read on db:schema/none");
  });

  it("has one owner at most", () => {
    const both = [asked("data:migrate", "schema/a"), asked("data:migrate", "database/db")];
    expect(deriveProviderPolicy("db", both, scopes).reasons).toMatchObject([{ code: "conflict" }]);
    expect(deriveProviderPolicy("db", both.slice(1), scopes).policy).toMatchObject({ owner: "migrator" });
  });

  it("never has a role that no permission of it stands for, whatever is asked", () => {
    const paths = ["database/db", "schema/a", "schema/none"];
    const asks = fc.array(
      fc.tuple(fc.constantFrom("data:read", "data:migrate", "data:idle"), fc.constantFrom(...paths)),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(asks, (pairs) => {
        const { policy, reasons } = deriveProviderPolicy(
          "db",
          pairs.map(([action, path]) => asked(action, path)),
          scopes,
        );
        const upstream = scopes.upstreams.get("db");
        if (upstream?.type !== "postgres") throw new Error("expected the upstream");
        const each = pairs.map(([action, path]) => upstream.templates.get(`${action} db:${path}`) ?? []);
        if (each.some((roles) => roles.length === 0)) {
          expect([policy, reasons.length > 0]).toEqual([null, true]);
        } else if (policy?.kind === "postgres") {
          expect(new Set(policy.roles)).toEqual(new Set(each.flat().map(({ role }) => role)));
        }
      }),
    );
  });

  it("is part of the decision, and refuses with every other reason", () => {
    const set = load(
      roleText({ name: "db-reader", permissions: "[{ actions: [data:read], resources: { upstream: db } }]" }),
    );
    const agent = set.principals.get("coder");
    if (agent?.kind !== "Agent") throw new Error("expected the agent");
    const ask = (path: string) =>
      decide(
        { permissions: [{ action: "data:read", resource: `db:${path}` }], role: null, ttlSeconds: null },
        agent,
        set,
        { maxTtlSeconds: 3600 },
      );
    expect(ask("database/db")).toMatchObject({ outcome: "allowed", providerPolicy: { roles: ["reader"] } });
    expect(ask("schema/none")).toMatchObject({ outcome: "refused", reasons: [{ code: "operation_unlisted" }] });
  });
});
