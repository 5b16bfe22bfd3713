// What a policy says beside roles: strikes, how many holds an agent may have, and who is told of what.

import { describe, expect, it } from "vitest";
import type { Event } from "../../src/audit/events.ts";
import { WEBHOOK_EVENTS } from "../../src/scopes/settings.ts";
import { buildWith, problemsOf, setOf } from "../support/scopes-text.ts";

const settingsOf = (yaml: string) => setOf(buildWith(yaml)).settings;
const hook = (lines: Readonly<Record<string, string>> = {}) => {
  const keys = {
    name: "chat",
    url: "https://hooks.example.com/in",
    secret: "chat-key",
    events: "[hold.created]",
    ...lines,
  };
  const text = Object.entries(keys).map(([key, value]) => `${key}: ${value}`);
  return `{ ${text.join(", ")} }`;
};
const webhooks = (...hooks: readonly string[]) => `kind: Settings\nwebhooks: [${hooks.join(", ")}]`;

describe("settings", () => {
  it("are the documented ones where no document says otherwise", () => {
    const defaults = { strikes: { refusals: 5, windowSeconds: 60 }, holds: { perAgent: 20 }, webhooks: [] };
    expect(settingsOf("# nothing")).toEqual(defaults);
    expect(settingsOf("kind: Settings")).toEqual(defaults);
    expect(settingsOf("kind: Settings\nstrikes: { window: 1h }").strikes).toEqual({ refusals: 5, windowSeconds: 3600 });
    expect(settingsOf("kind: Settings\nholds: { perAgent: 10000 }").holds).toEqual({ perAgent: 10_000 });
    expect(settingsOf("kind: Settings\nholds: {}").holds).toEqual({ perAgent: 20 });
  });

  it.each([
    ["two documents", "kind: Settings\n---\nkind: Settings", "expected one document of this kind"],
    ["no refusals", "kind: Settings\nstrikes: { refusals: 0 }", "at least 1"],
    ["a window beyond 1h", "kind: Settings\nstrikes: { window: 2h }", "expected at most 1h"],
    ["an unknown setting", "kind: Settings\nstrike: {}", "expected only the keys kind, strikes"],
    ["no holds", "kind: Settings\nholds: { perAgent: 0 }", "at least 1"],
    ["a part of a hold", "kind: Settings\nholds: { perAgent: 1.5 }", "perAgent"],
    ["more holds than 10000", "kind: Settings\nholds: { perAgent: 10001 }", "at most 10000"],
    ["an unknown setting of holds", "kind: Settings\nholds: { total: 5 }", "expected only the keys perAgent"],
  ])("refuse %s", (_rule, yaml, message) => {
    expect(problemsOf(buildWith(yaml))).toEqual([expect.stringContaining(message)]);
  });
});

describe("a webhook", () => {
  it("has a name, a URL, the name of its secret, events and private addresses", () => {
    const addressed = hook({ name: "pager", url: "http://127.0.0.1:8080/in?x=1", addresses: "[127.0.0.1/32]" });
    const { webhooks: made } = settingsOf(webhooks(addressed, hook({ events: "[hold.fired, hold.created]" })));
    expect(made).toEqual([
      {
        name: "chat",
        url: "https://hooks.example.com/in",
        secret: "chat-key",
        events: new Set(["hold.fired", "hold.created"]),
        addresses: [],
      },
      {
        name: "pager",
        url: "http://127.0.0.1:8080/in?x=1",
        secret: "chat-key",
        events: new Set(["hold.created"]),
        addresses: ["127.0.0.1/32"],
      },
    ]);
  });

  it("cannot be changed once it is made", () => {
    const [made] = settingsOf(webhooks(hook())).webhooks;
    if (made === undefined) throw new Error("expected the webhook");
    expect(Object.isFrozen(made)).toBe(true);
    // What a caller without types could try.
    const events = made.events as Set<string>;
    expect(() => events.add("x")).toThrow("cannot be changed");
  });

  it("hears of what the record has entries for", () => {
    const known: readonly Event["type"][] = WEBHOOK_EVENTS;
    expect(new Set(known).size).toBe(known.length);
    expect(settingsOf(webhooks(hook({ events: `[${known.join(", ")}]` }))).webhooks[0]?.events.size).toBe(known.length);
  });

  it.each([
    "https://hooks.example.com",
    "https://hooks.example.com:8443/a/b?c=d%20e",
    "http://localhost:9000/",
    "http://[::1]:9000/x",
  ])("may be at %s", (url) => {
    expect(settingsOf(webhooks(hook({ url: `"${url}"` }))).webhooks[0]?.url).toBe(new URL(url).href);
  });

  it.each([
    ["plain http elsewhere", "http://hooks.example.com/in"],
    ["http at a name that only looks like loopback", "http://localhost.example.com/in"],
    ["another scheme", "ftp://hooks.example.com/in"],
    ["a script", "javascript:alert(1)"],
    ["a user name", "https://user@hooks.example.com/in"],
    ["a password", "https://user:pass@hooks.example.com/in"],
    ["an empty user name", "https://@hooks.example.com/in"],
    ["a fragment", "https://hooks.example.com/in#x"],
    ["an empty fragment", "https://hooks.example.com/in#"],
    ["no host", "https:///in"],
    ["a path alone", "/in"],
    ["dot segments", "https://hooks.example.com/a/../in"],
    ["two slashes where its path begins", "https://hooks.example.com//in"],
    ["backslashes", "https://hooks.example.com\\\\in"],
    ["upper case in the host", "https://Hooks.example.com/in"],
    ["the port of its scheme", "https://hooks.example.com:443/in"],
    ["an address in another spelling", "http://127.1/in"],
    ["a space", "https://hooks.example.com/a b"],
    ["more than 2048 characters", `https://hooks.example.com/${"a".repeat(2048)}`],
  ])("is refused with %s in its URL, which is not repeated", (_rule, url) => {
    const [problem = "", ...others] = problemsOf(buildWith(webhooks(hook({ url: `"${url}"` }))));
    expect(problem).toMatch(/^scopes\/x\.yaml:2:\d+: webhooks\.0\.url: expected /);
    expect(problem).not.toContain("hooks.example.com");
    expect(others).toEqual([]);
  });

  it.each([
    ["no name", hook({ name: '""' }), "webhooks.0.name"],
    ["no event", hook({ events: "[]" }), "at least 1"],
    ["an unknown event", hook({ events: "[hold.created, hold.creatd]" }), 'found "hold.creatd"'],
    ["an event of every call", hook({ events: "[call.allowed]" }), "webhooks.0.events.0"],
    ["all events by a wildcard", hook({ events: "['*']" }), "webhooks.0.events.0"],
    ["an event twice", hook({ events: "[hold.fired, hold.fired]" }), "each event once"],
    ["an address without a block", hook({ addresses: "[10.0.0.1]" }), "block of addresses"],
    ["every address", hook({ addresses: "[0.0.0.0/0]" }), "block of addresses"],
    ["an unknown key", hook({ retries: "3" }), "expected only the keys name, url, secret, events, addresses"],
    ["the broker's own environment", hook({ secret: "env:VALETKEY_MASTER_KEY" }), "never the secret itself"],
  ])("is refused with %s", (_rule, text, message) => {
    expect(problemsOf(buildWith(webhooks(text)))).toEqual([expect.stringContaining(message)]);
  });

  it("is refused with its secret in place of the secret's name, which is not repeated", () => {
    const pasted = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const [problem = "", ...others] = problemsOf(buildWith(webhooks(hook({ secret: pasted }))));
    expect(problem).toContain("never the secret itself");
    expect(problem).not.toContain("MfKQ");
    expect(others).toEqual([]);
  });

  it("is not repeated where its secret stands in place of the webhook", () => {
    const problems = problemsOf(buildWith(webhooks('"https://hooks.example.com/T0/B0/key"')));
    expect(problems).toHaveLength(1);
    expect(problems[0]).not.toContain("hooks.example.com");
    expect(problemsOf(buildWith('kind: Settings\nwebhooks: "https://hooks.example.com/T0"'))[0]).not.toContain("T0");
  });

  it("has a name of its own, and there are at most 16", () => {
    expect(problemsOf(buildWith(webhooks(hook(), hook())))).toEqual([expect.stringContaining("each name once")]);
    const many = (count: number) => webhooks(...Array.from({ length: count }, (_, n) => hook({ name: `h${n}` })));
    expect(problemsOf(buildWith(many(16)))).toEqual([]);
    expect(problemsOf(buildWith(many(17)))).toEqual([expect.stringContaining("at most 16")]);
  });
});
