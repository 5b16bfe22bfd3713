// The environment's lists of mounted root credentials and of upstreams' listeners: what is refused, and that no problem
// repeats what was written.

import { describe, expect, it } from "vitest";
import { ConfigError, readServerConfig } from "../../src/config.ts";

const STRIPE = "https://api.stripe.com";
const GITHUB = "https://api.github.com";

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

describe("root credentials that are mounted", () => {
  it.each([
    "STRIPE_KEY",
    "STRIPE_KEY=",
    `=${STRIPE}`,
    `stripe=${STRIPE}`,
    `1STRIPE=${STRIPE}`,
    `STRIPE-KEY=${STRIPE}`,
    `VALETKEY_MASTER_KEY_FILE=${STRIPE}`,
    `VALETKEY_KEY=${STRIPE}`,
    `STRIPE_KEY=${STRIPE}/`,
    `STRIPE_KEY=${STRIPE}/v1`,
    "STRIPE_KEY=http://api.stripe.com",
    "STRIPE_KEY=*",
    `STRIPE_KEY=${STRIPE},`,
    `STRIPE_KEY=${STRIPE},${STRIPE}`,
    `STRIPE_KEY=${Array.from({ length: 17 }, (_, i) => `https://a${i}.example`).join(",")}`,
  ])("refuse VALETKEY_SECRETS_ENV=%s, by the word's place", (text) => {
    const env = {
      VALETKEY_SECRETS_ENV: `GITHUB=${GITHUB} ${text}`,
      GITHUB: "a-github-key",
      STRIPE_KEY: "a-stripe-key",
    };
    expect(problemsOf(env)).toEqual([expect.stringMatching(/^VALETKEY_SECRETS_ENV: word 2 of the list: expected/)]);
  });

  it("refuse a name that is listed twice, and more than a hundred", () => {
    const twice = `STRIPE_KEY=${STRIPE} STRIPE_KEY=${GITHUB}`;
    expect(problemsOf({ VALETKEY_SECRETS_ENV: twice, STRIPE_KEY: "a-stripe-key" })).toEqual([
      expect.stringContaining("STRIPE_KEY is listed twice"),
    ]);
    const many = Array.from({ length: 101 }, (_, i) => `f${i}=${STRIPE}`).join(" ");
    expect(problemsOf({ VALETKEY_SECRETS_FILES: `/mounted ${many}` })).toHaveLength(1);
  });

  it("refuse a listed variable that is missing, empty, or cannot be a root credential", () => {
    const list = { VALETKEY_SECRETS_ENV: `STRIPE_KEY=${STRIPE}` };
    expect(problemsOf({ ...list, STRIPE_KEY: "a-stripe-key" })).toEqual([]);
    for (const value of [undefined, "", "\n", "short", "x".repeat(16_385)])
      expect(problemsOf({ ...list, STRIPE_KEY: value })).toEqual([
        expect.stringContaining("VALETKEY_SECRETS_ENV: the value of STRIPE_KEY "),
      ]);
  });

  it.each([
    "/mounted",
    `stripe=${STRIPE}`,
    `/mounted ${STRIPE}`,
    `/mounted ../stripe=${STRIPE}`,
    `/mounted a/b=${STRIPE}`,
    `/mounted /etc/passwd=${STRIPE}`,
    `/mounted .hidden=${STRIPE}`,
    `/mounted ..data=${STRIPE}`,
    `/mounted a\\b=${STRIPE}`,
    "/mounted stripe=https://user:password@api.stripe.com",
    "/mounted stripe",
  ])("refuse VALETKEY_SECRETS_FILES=%s", (text) => {
    expect(problemsOf({ VALETKEY_SECRETS_FILES: text })).toEqual([
      expect.stringMatching(/^VALETKEY_SECRETS_FILES: .*expected/),
    ]);
  });

  it.each([
    ["the folder of the master key", "/keys"],
    ["a folder in it", "/keys/mounted"],
    ["a folder around it", "/"],
    ["the folder of the store", "/data"],
    ["a folder in that, by dots", "/mounted/../data/x"],
    ["the scopes folder", "policy"],
    ["a folder in the scopes folder", "/srv/policy/secrets"],
    ["the working folder, which has all of the default's", "."],
  ])("refuse files in %s: they would be Valetkey's own", (_what, folder) => {
    const env = {
      VALETKEY_MASTER_KEY_FILE: "/keys/master.key",
      VALETKEY_STORE: "sqlite:/data/broker.db",
      VALETKEY_SCOPES: "policy",
      VALETKEY_SECRETS_FILES: `${folder} stripe=${STRIPE}`,
    };
    const problems = problemsOf(env);
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) expect(problem).toMatch(/^VALETKEY_SECRETS_FILES: .*keep mounted secrets apart/);
    expect(problemsOf({ ...env, VALETKEY_SECRETS_FILES: `/keys-mounted stripe=${STRIPE}` })).toEqual([]);
  });
});

describe("listeners of upstreams", () => {
  it.each(["github", "github=", "github=8431", "GitHub=127.0.0.1:8431", "=127.0.0.1:8431", "a=127.0.0.1:70000"])(
    "have no form like %s",
    (text) => {
      expect(problemsOf({ VALETKEY_GATEWAY_LISTEN: text })).toEqual([
        expect.stringMatching(/^VALETKEY_GATEWAY_LISTEN: word 1 of the list: expected/),
      ]);
    },
  );

  it("are one for each upstream", () => {
    expect(problemsOf({ VALETKEY_GATEWAY_LISTEN: "a=127.0.0.1:1 b=127.0.0.1:2 a=127.0.0.1:3" })).toEqual([
      expect.stringContaining("a is listed twice"),
    ]);
  });

  it("at an open address need an https issuer, as the broker itself does", () => {
    const listen = { VALETKEY_GATEWAY_LISTEN: "a=127.0.0.1:8431 b=0.0.0.0:8432" };
    expect(problemsOf(listen)).toEqual([expect.stringMatching(/^VALETKEY_GATEWAY_LISTEN: 0\.0\.0\.0 .*https/)]);
    expect(problemsOf({ ...listen, VALETKEY_ISSUER: "https://valetkey.example" })).toEqual([]);
  });
});
