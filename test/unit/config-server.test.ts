// The environment of the broker: every variable, what is refused, and that docs/configuration.md says so.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError, readServerConfig, SERVER_VARIABLES } from "../../src/config.ts";
import { Secret } from "../../src/core/secret.ts";

const STRIPE = "https://api.stripe.com";
const GITHUB = "https://api.github.com";
const UPLOADS = "https://uploads.github.com";

/** What is wrong with this environment, a line a problem; none where it is good. */
function problemsOf(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  try {
    readServerConfig(env, "/srv");
    return [];
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
}

describe("the configuration", () => {
  it("has a default for everything, and paths start at the working folder", () => {
    expect(readServerConfig({}, "/srv")).toEqual({
      issuer: null,
      host: "127.0.0.1",
      port: 8420,
      store: { engine: "sqlite", file: "/srv/.valetkey/broker.db" },
      scopesFolder: "/srv/scopes",
      scopesDigest: null,
      masterKeyFile: "/srv/.valetkey/master.key",
      knownFile: "/srv/.valetkey/known.json",
      maxTtlSeconds: 3600,
      keyRotationSeconds: 30 * 86_400,
      secretReferences: { env: [], files: null, ownFolders: ["/srv/.valetkey", "/srv/scopes"] },
      gatewayListeners: [],
    });
  });

  it("takes what is set", () => {
    const env = {
      VALETKEY_ISSUER: "https://valetkey.example/team-a",
      VALETKEY_LISTEN: "[::]:443",
      VALETKEY_STORE: "sqlite:/data/b.db",
      VALETKEY_SCOPES: "/etc/scopes",
      VALETKEY_SCOPES_DIGEST: "3f".repeat(32),
      VALETKEY_MASTER_KEY_FILE: "/run/key",
      VALETKEY_KNOWN_FILE: "/var/known/store.json",
      VALETKEY_MAX_TTL: "24h",
      VALETKEY_KEY_ROTATION: "7d",
      VALETKEY_SECRETS_ENV: `STRIPE_KEY=${STRIPE}  GITHUB=${GITHUB},${UPLOADS}\n`,
      VALETKEY_SECRETS_FILES: `/mounted stripe=${STRIPE} Git.hub_1-a=${GITHUB}`,
      VALETKEY_GATEWAY_LISTEN: "github=127.0.0.1:8431 stripe=[::1]:0",
    };
    const ofRedis = SERVER_VARIABLES.filter((name) => name.startsWith("VALETKEY_REDIS_"));
    expect([...Object.keys(env), ...ofRedis].toSorted()).toEqual(SERVER_VARIABLES.toSorted());
    const values = { STRIPE_KEY: "the-stripe-key\n", GITHUB: "the-github-key", OTHER: "not-listed" };
    const config = readServerConfig({ ...env, ...values }, "/srv");
    const captured = config.secretReferences.env.map(({ value }) => Buffer.from(value.reveal()).toString());
    expect(captured).toEqual(["the-stripe-key", "the-github-key"]);
    expect(config).toEqual({
      issuer: "https://valetkey.example/team-a",
      host: "::",
      port: 443,
      store: { engine: "sqlite", file: "/data/b.db" },
      scopesFolder: "/etc/scopes",
      scopesDigest: "3f".repeat(32),
      masterKeyFile: "/run/key",
      knownFile: "/var/known/store.json",
      maxTtlSeconds: 86_400,
      keyRotationSeconds: 604_800,
      secretReferences: {
        env: [
          { name: "STRIPE_KEY", origins: [STRIPE], value: expect.any(Secret) },
          { name: "GITHUB", origins: [GITHUB, UPLOADS], value: expect.any(Secret) },
        ],
        files: {
          folder: "/mounted",
          names: [
            { name: "stripe", origins: [STRIPE] },
            { name: "Git.hub_1-a", origins: [GITHUB] },
          ],
        },
        ownFolders: ["/run", "/var/known", "/data", "/etc/scopes"],
      },
      gatewayListeners: [
        { upstream: "github", host: "127.0.0.1", port: 8431 },
        { upstream: "stripe", host: "::1", port: 0 },
      ],
    });
  });

  it("takes a Redis and what goes with it, and that without a Redis for a mistake", () => {
    const files = {
      VALETKEY_REDIS_PASSWORD_FILE: "password",
      VALETKEY_REDIS_SENTINEL_PASSWORD_FILE: "/run/sentinel",
      VALETKEY_REDIS_CA_FILE: "/run/ca.pem",
    };
    const address = "rediss+sentinel://s-1,s-2,s-3:26380/mymaster";
    const { store, secretReferences } = readServerConfig({ VALETKEY_STORE: address, ...files }, "/srv");
    expect(store).toMatchObject({
      engine: "redis",
      address: { kind: "sentinel", isTls: true, master: "mymaster" },
      passwordFile: "/srv/password",
      sentinelPasswordFile: "/run/sentinel",
      caFile: "/run/ca.pem",
    });
    expect(secretReferences.ownFolders).toEqual(["/srv/.valetkey", "/srv/scopes"]);
    expect(store).toMatchObject({ replicas: 0, acceptedLosses: new Set() });
    const more = { VALETKEY_REDIS_REPLICAS: "2", VALETKEY_REDIS_ACCEPT_LOSS: "appendfsync  maxmemory-policy" };
    expect(readServerConfig({ VALETKEY_STORE: address, ...more }, "/srv").store).toMatchObject({
      replicas: 2,
      acceptedLosses: new Set(["appendfsync", "maxmemory-policy"]),
    });
    for (const wrong of [{ VALETKEY_REDIS_REPLICAS: "6" }, { VALETKEY_REDIS_ACCEPT_LOSS: "everything" }])
      expect(problemsOf({ VALETKEY_STORE: address, ...wrong })).toEqual([expect.stringMatching(/: expected/)]);
    const named = problemsOf(files).map((problem) => problem.split(":")[0]);
    expect(named).toEqual(Object.keys(files));
    for (const wrong of ["redis://", "redis://a,b", "redis+sentinel://a,b", "redis+cluster://a/1"])
      expect(problemsOf({ VALETKEY_STORE: wrong })).toEqual([expect.stringMatching(/^VALETKEY_STORE: expected/)]);
    expect(problemsOf({ VALETKEY_STORE: "redis://u:hidden-word@a b" }).join()).not.toContain("hidden-word");
  });

  it("refuses a variable that it does not know, and lets the clients' and other programs' be", () => {
    expect(problemsOf({ VALETKEY_MAX_TLL: "5m" })).toEqual([
      expect.stringMatching(/^VALETKEY_MAX_TLL: .*not known.*docs\/configuration\.md/),
    ]);
    expect(problemsOf({ VALETKEY_: "x" })).toHaveLength(1);
    expect(
      problemsOf({ VALETKEY_URL: "x", VALETKEY_KEY: "y", PATH: "/bin", VALET: "z", valetkey_max_ttl: "x" }),
    ).toEqual([]);
  });

  it("tells all problems at once, an open address among them", () => {
    const problems = problemsOf({
      VALETKEY_LISTEN: "0.0.0.0:8420",
      VALETKEY_ISSUER: "ftp://x",
      VALETKEY_STORE: "mysql://x",
      VALETKEY_SCOPES: "",
      VALETKEY_MAX_TTL: "0s",
      VALETKEY_KEY_ROTATION: "often",
      VALETKEY_UNKNOWN: "1",
      VALETKEY_OTHER: "1",
    });
    const named = problems.map((problem) => problem.split(":")[0] ?? "").toSorted();
    expect(named).toEqual([
      "VALETKEY_ISSUER",
      "VALETKEY_KEY_ROTATION",
      "VALETKEY_LISTEN",
      "VALETKEY_MAX_TTL",
      "VALETKEY_OTHER",
      "VALETKEY_SCOPES",
      "VALETKEY_STORE",
      "VALETKEY_UNKNOWN",
    ]);
  });

  it.each(SERVER_VARIABLES)("refuses an empty %s", (name) => {
    expect(problemsOf({ [name]: "" })).toEqual([expect.stringContaining(`${name}: `)]);
  });

  it("never repeats a value", () => {
    const problems = SERVER_VARIABLES.flatMap((name) => problemsOf({ [name]: "sk_live_marker sk_live_marker" }));
    expect(problems.length).toBeGreaterThan(4);
    expect(problems.join("\n")).not.toContain("sk_live_marker");
  });

  it.each([
    "0.0.0.0:8420",
    "[::]:8420",
    "10.0.0.1:80",
    "valetkey.example:443",
    "127.0.0.1.evil.example:80",
    "127.1:80",
    "127.0.0.999:80",
    "128.0.0.1:80",
    "[::2]:80",
    "localhost.:80",
  ])("listens at %s with an https issuer alone", (listen) => {
    expect(problemsOf({ VALETKEY_LISTEN: listen })).toEqual([expect.stringContaining("https")]);
    expect(problemsOf({ VALETKEY_LISTEN: listen, VALETKEY_ISSUER: "http://valetkey.example" })).toHaveLength(2);
    expect(problemsOf({ VALETKEY_LISTEN: listen, VALETKEY_ISSUER: "https://valetkey.example" })).toEqual([]);
  });

  it.each(["127.0.0.1:0", "127.255.255.254:65535", "localhost:1", "[::1]:8420"])(
    "listens at %s without one",
    (listen) => {
      expect(problemsOf({ VALETKEY_LISTEN: listen })).toEqual([]);
    },
  );

  it.each([
    "127.0.0.1",
    "8420",
    ":8420",
    "127.0.0.1:",
    "127.0.0.1:70000",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:8 ",
    "::1:8420",
    "http://127.0.0.1:8420",
    "127.0.0.1:8420/x",
    "a_b:1",
  ])("has no address %j", (listen) => {
    expect(problemsOf({ VALETKEY_LISTEN: listen })).toEqual([expect.stringContaining("an address and a port")]);
  });

  it.each([
    ["a slash at the end", "https://valetkey.example/"],
    ["a slash after its path", "https://valetkey.example/a/"],
    ["a user", "https://user@valetkey.example"],
    ["a user and a password", "https://user:secret@valetkey.example"],
    ["an empty user", "https://@valetkey.example"],
    ["a query", "https://valetkey.example?a=1"],
    ["an empty query", "https://valetkey.example?"],
    ["a fragment", "https://valetkey.example#a"],
    ["an empty fragment", "https://valetkey.example#"],
    ["another scheme", "ftp://valetkey.example"],
    ["a script", "javascript:alert(1)"],
    ["no scheme", "valetkey.example"],
    ["space around it", " https://valetkey.example "],
    ["a line break inside", "https://valetkey\n.example"],
    ["backslashes", "https:\\\\valetkey.example"],
    ["no slashes", "https:valetkey.example"],
    ["upper case", "https://Valetkey.example"],
    ["the default port", "https://valetkey.example:443"],
    ["dot segments", "https://valetkey.example/a/../b"],
    ["an address in octal", "http://0177.0.0.1"],
  ])("refuses an issuer with %s, because it is compared as text", (_what, issuer) => {
    expect(problemsOf({ VALETKEY_ISSUER: issuer })).toEqual([expect.stringContaining("VALETKEY_ISSUER")]);
  });

  it.each(["0s", "0", "-1h", "25h", "86401s", "2d", "1h30m", "1.5h", "3600", "1H", " 1h"])(
    "refuses VALETKEY_MAX_TTL=%s",
    (ttl) => {
      expect(problemsOf({ VALETKEY_MAX_TTL: ttl })).toHaveLength(1);
    },
  );

  it.each(["1s", "24h", "1d", "86400s"])("takes VALETKEY_MAX_TTL=%s", (ttl) => {
    expect(problemsOf({ VALETKEY_MAX_TTL: ttl })).toEqual([]);
  });

  it.each(["sqlite:", "mysql://localhost", ".valetkey/broker.db", "SQLITE:x"])("has no store %j", (store) => {
    expect(problemsOf({ VALETKEY_STORE: store })).toEqual([expect.stringContaining("sqlite:")]);
  });
});

describe("docs/configuration.md", () => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");
  const rows = [...text.matchAll(/^\| `(VALETKEY_[A-Z_]+)` \| (.*?) \| /gm)];
  const documented = rows.map(([, name]) => name ?? "");

  it("lists every variable of the broker, and none that it does not read", () => {
    const clients = ["VALETKEY_URL", "VALETKEY_KEY"];
    expect(documented.filter((name) => !clients.includes(name)).toSorted()).toEqual(SERVER_VARIABLES.toSorted());
    for (const name of clients) expect(documented).toContain(name);
  });

  const WITHOUT_DEFAULT = [
    "VALETKEY_KNOWN_FILE",
    "VALETKEY_SCOPES_DIGEST",
    "VALETKEY_ISSUER",
    "VALETKEY_SECRETS_ENV",
    "VALETKEY_SECRETS_FILES",
    "VALETKEY_GATEWAY_LISTEN",
    "VALETKEY_REDIS_PASSWORD_FILE",
    "VALETKEY_REDIS_SENTINEL_PASSWORD_FILE",
    "VALETKEY_REDIS_CA_FILE",
    "VALETKEY_REDIS_REPLICAS",
    "VALETKEY_REDIS_ACCEPT_LOSS",
  ];

  it("names the defaults that apply: with them set, nothing changes", () => {
    const defaults = rows.flatMap(([, name = "", cell = ""]) => {
      const [, value] = /^`(.+)`$/.exec(cell) ?? [];
      return value === undefined || !SERVER_VARIABLES.includes(name) ? [] : [[name, value] as const];
    });
    expect(defaults.length).toBe(SERVER_VARIABLES.length - WITHOUT_DEFAULT.length);
    for (const name of WITHOUT_DEFAULT) expect(defaults.map(([known]) => known)).not.toContain(name);
    expect(readServerConfig(Object.fromEntries(defaults), "/srv")).toEqual(readServerConfig({}, "/srv"));
    for (const [name, value] of defaults) {
      const other = readServerConfig({ [name]: value }, "/srv");
      expect(other, name).toEqual(readServerConfig({}, "/srv"));
    }
  });
});
