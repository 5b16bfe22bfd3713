// A provider, or who speaks in its name, answers so that a production resource looks like one of staging; callers race
// with a relabelling. None of it gives a label.

import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { createLabelSource, type LabelSource } from "../../src/gateway/resolve.ts";
import type { GatewayUpstream } from "../../src/scopes/scope-set.ts";
import {
  answerWith,
  type Answered,
  askedBy,
  expression,
  QUIET,
  repositories,
  volumeData,
  volumes,
} from "../support/resolving-upstream.ts";
import { makeClock } from "../support/signed-feed.ts";

const UPSTREAM = volumes();
const RESOURCE = "cloud:volume/v1";
const STAGING = volumeData("v1", ["env-s"]);
const FRESH = { ...QUIET, fresh: true };
const FAILED = { code: "upstream_failed" };

function ask(answer: Answered, upstream: GatewayUpstream = UPSTREAM, resource = RESOURCE) {
  const source = createLabelSource({ ask: askedBy(() => answer).ask, clock: makeClock() });
  return source.labelsOf(upstream, resource, QUIET);
}

/** A provider whose answers are let go one by one, each with the labels of the moment it was asked. */
function heldProvider() {
  const state = { environment: "env-s" };
  const waiting: PromiseWithResolvers<Answered>[] = [];
  const { ask: asker, requests } = askedBy(async () => {
    const answer = answerWith(volumeData("v1", [state.environment]));
    const held = Promise.withResolvers<Answered>();
    waiting.push(held);
    await held.promise;
    return answer;
  });
  const source = createLabelSource({ ask: asker, clock: makeClock() });
  /** Also fails the one at this place, if told to. */
  const letGo = async (place: number, error?: Error): Promise<void> => {
    await expect.poll(() => waiting.length).toBeGreaterThan(place);
    if (error === undefined) waiting[place]?.resolve(answerWith(""));
    else waiting[place]?.reject(error);
  };
  return { state, requests, source, letGo };
}

function environmentOf(found: Awaited<ReturnType<LabelSource["labelsOf"]>>): readonly string[] | undefined {
  return found?.outcome === "resolved" ? found.labels["environment"] : undefined;
}

describe("an answer", () => {
  it.each([
    ["another id", "v2"],
    ["the id in another case", "V1"],
    ["the id with space", "v1 "],
    ["an id that is a list", ["v1"]],
    ["an id that is an object", { toString: "v1" }],
    ["an id that is true", true],
    ["an empty id", ""],
  ])("about %s is refused", async (_, id) => {
    await expect(ask(answerWith(volumeData(id, ["env-s"])))).rejects.toMatchObject(FAILED);
  });

  it("about a number is taken as that number's plain text only", async () => {
    await expect(ask(answerWith({ id: 7, env: "env-s" }), repositories(), "hub:repo/7")).resolves.toMatchObject({
      outcome: "resolved",
    });
    for (const resource of ["hub:repo/07", "hub:repo/7.0", "hub:repo/7e0"]) {
      await expect(ask(answerWith({ id: 7, env: "env-s" }), repositories(), resource)).rejects.toMatchObject(FAILED);
    }
  });

  it.each(["__proto__", "constructor", "toString", "hasOwnProperty", "staging", "ENV-S", "env-s ", "17.0", "1e1"])(
    "with the environment id %j finds nothing in the table",
    async (id) => {
      await expect(ask(answerWith(volumeData("v1", [id])))).resolves.toMatchObject({ outcome: "unknown" });
      await expect(ask(answerWith(volumeData("v1", ["env-s", id])))).resolves.toMatchObject({ outcome: "unknown" });
    },
  );

  it.each([
    ["a member named __proto__", `{"data":{"volume":{"__proto__":{"id":"v1"},"edges":[]}}}`],
    ["data in __proto__", `{"__proto__":{"data":${JSON.stringify(STAGING.data)}}}`],
  ])("with %s has no labels", async (_, text) => {
    const found = await ask(answerWith(text))?.catch((error: unknown) => error);
    expect(found instanceof BrokerError || (found as { outcome: string }).outcome === "unknown").toBe(true);
  });

  it("does not put an id that a person could misread into what it says", async () => {
    for (const id of ["\u202Eproduction", "a\nb", "<b>", "x".repeat(65), "a b"]) {
      const found = await ask(answerWith(volumeData("v1", [id])));
      expect(found).toMatchObject({ why: expect.stringContaining("one of its environments is not in the table") });
      expect(JSON.stringify(found)).not.toContain(id);
    }
    await expect(ask(answerWith(volumeData("v1", ["env-x"])))).resolves.toMatchObject({
      why: expect.stringContaining("env-x"),
    });
  });

  it.each([
    ["errors beside data", { ...STAGING, errors: [{ message: "partial" }] }],
    ["errors that are an object", { ...STAGING, errors: {} }],
    ["errors that are a text", { ...STAGING, errors: "" }],
    ["further parts", { ...STAGING, hasNext: true }],
    ["data that is a list", { data: [STAGING.data] }],
    ["no data", { volume: STAGING.data.volume }],
    ["a list around it", [STAGING]],
    ["a further page", volumeData("v1", ["env-s"], true)],
    ["null for the page", volumeData("v1", ["env-s"], null)],
    ["a text for the page", volumeData("v1", ["env-s"], "false")],
    ["zero for the page", volumeData("v1", ["env-s"], 0)],
    ["a list with one further page", volumeData("v1", ["env-s"], [false, true])],
    ["a list with one page that says nothing", volumeData("v1", ["env-s"], [false, null])],
    ["a list without pages", volumeData("v1", ["env-s"], [])],
  ])("with %s is refused", async (_, body) => {
    await expect(ask(answerWith(body))).rejects.toMatchObject(FAILED);
  });

  it("with a list of pages, all of them the last, is taken", async () => {
    await expect(ask(answerWith(volumeData("v1", ["env-s"], [false, [false]])))).resolves.toMatchObject({
      outcome: "resolved",
    });
  });

  it.each([201, 202, 203, 206, 301, 401, 403, 429, 500])("with status %d is refused", async (status) => {
    await expect(ask(answerWith(STAGING, { status }))).rejects.toMatchObject(FAILED);
  });

  it.each([
    "text/html",
    "text/plain",
    "application/jsonp",
    "application/json-seq",
    "multipart/mixed; boundary=-",
    "application/json; charset=utf-16",
    'application/json; charset="latin1"',
    "",
  ])("of type %j is refused, whatever is in it", async (type) => {
    await expect(ask(answerWith(STAGING, { headers: { "content-type": type } }))).rejects.toMatchObject(FAILED);
  });

  it.each(["application/json", "Application/JSON;Charset=UTF-8", "application/graphql-response+json; charset=utf-8"])(
    "of type %j is JSON",
    async (type) => {
      await expect(ask(answerWith(STAGING, { headers: { "content-type": type } }))).resolves.toMatchObject({
        outcome: "resolved",
      });
    },
  );

  it.each([
    ["a duplicate key", JSON.stringify(STAGING).replace('"id":"v1"', '"id":"v2","id":"v1"')],
    ["a duplicate key in other letters", JSON.stringify(STAGING).replace('"id":"v1"', '"\\u0069d":"v2","id":"v1"')],
    ["something behind it", `${JSON.stringify(STAGING)}{}`],
    ["a byte order mark", `\uFEFF${JSON.stringify(STAGING)}`],
    ["a comment", `/* */${JSON.stringify(STAGING)}`],
    ["nothing in it", ""],
    ["more than 1 MiB", `${JSON.stringify(STAGING)}${" ".repeat(1_048_576)}`],
    ["10,000 levels", `{"data":${"[".repeat(10_000)}${"]".repeat(10_000)}}`],
  ])("with %s is refused", async (_, text) => {
    await expect(ask(answerWith(text))).rejects.toMatchObject(FAILED);
  });

  it("that is not UTF-8 is refused", async () => {
    const body = new Uint8Array([...answerWith(STAGING).body, 0x20, 0xff]);
    await expect(ask({ ...answerWith(STAGING), body })).rejects.toMatchObject(FAILED);
  });

  it.each(['<https://x/?page=2>; rel="next"', "<https://x/>; REL=Next", '<a>; rel="last", <b>;rel = "prev next"'])(
    "by GET with the link %j has further pages: refused",
    async (link) => {
      const answer = answerWith({ id: 7, env: "env-s" }, { headers: { link } });
      await expect(ask(answer, repositories(), "hub:repo/7")).rejects.toMatchObject(FAILED);
    },
  );

  it("by GET with a link to elsewhere is taken", async () => {
    const headers = { link: '<https://x/next>; rel="self"; title="next", <https://x/>; rel="last"' };
    await expect(
      ask(answerWith({ id: 7, env: "env-s" }, { headers }), repositories(), "hub:repo/7"),
    ).resolves.toMatchObject({ outcome: "resolved" });
  });

  it("that an expression cannot read is refused", async () => {
    const upstream = volumes({ labels: [["environment", expression("volume.edges[].node.noSuchMember")]] });
    await expect(ask(answerWith(STAGING), upstream)).rejects.toMatchObject(FAILED);
  });

  it("is never quoted in what a caller reads", async () => {
    const marker = "marker-of-the-provider";
    for (const body of [`<html>${marker}`, { errors: [{ message: marker }] }, volumeData(marker, [marker])]) {
      const error: unknown = await ask(answerWith(body))?.catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(BrokerError);
      expect((error as BrokerError).detail).not.toContain(marker);
    }
  });
});

describe("a race with a relabelling", () => {
  it("fifty who ask at once cost one request", async () => {
    const { source, requests, letGo } = heldProvider();
    const all = Promise.all(Array.from({ length: 50 }, async () => await source.labelsOf(UPSTREAM, RESOURCE, QUIET)));
    await letGo(0);
    expect((await all).every((found) => environmentOf(found)?.[0] === "staging")).toBe(true);
    expect(requests.length).toBe(1);
  });

  it("a fresh question never joins one that began before it, nor loses to its late answer", async () => {
    const { state, source, requests, letGo } = heldProvider();
    const early = source.labelsOf(UPSTREAM, RESOURCE, QUIET);
    await expect.poll(() => requests.length).toBe(1);
    state.environment = "env-p";
    const fresh = source.labelsOf(UPSTREAM, RESOURCE, FRESH);
    await letGo(1);
    expect(environmentOf(await fresh)).toEqual(["production"]);
    await letGo(0);
    expect(environmentOf(await early)).toEqual(["staging"]);
    expect(environmentOf(await source.labelsOf(UPSTREAM, RESOURCE, QUIET))).toEqual(["production"]);
    expect(requests.length).toBe(2);
  });

  it("two fresh questions are two requests", async () => {
    const { source, requests, letGo } = heldProvider();
    const both = Promise.all([FRESH, FRESH].map(async (options) => await source.labelsOf(UPSTREAM, RESOURCE, options)));
    await letGo(0);
    await letGo(1);
    await both;
    expect(requests.length).toBe(2);
  });

  it("a failure is shared by who waits, and by nobody after", async () => {
    const { source, requests, letGo } = heldProvider();
    const all = Promise.allSettled(
      Array.from({ length: 5 }, async () => await source.labelsOf(UPSTREAM, RESOURCE, QUIET)),
    );
    await letGo(0, new BrokerError("upstream_timeout", "cloud did not answer in time"));
    expect((await all).map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => "rejected"));
    const again = source.labelsOf(UPSTREAM, RESOURCE, QUIET);
    await letGo(1);
    expect(environmentOf(await again)).toEqual(["staging"]);
    expect(requests.length).toBe(2);
  });

  it("an answer that arrives after another policy is in force is not remembered", async () => {
    const { state, source, requests, letGo } = heldProvider();
    const early = source.labelsOf(UPSTREAM, RESOURCE, QUIET);
    await expect.poll(() => requests.length).toBe(1);
    source.clear();
    await letGo(0);
    await early;
    state.environment = "env-p";
    const late = source.labelsOf(UPSTREAM, RESOURCE, QUIET);
    await letGo(1);
    expect(environmentOf(await late)).toEqual(["production"]);
  });
});

describe("another who asks", () => {
  it("an upstream of the same name in another policy does not answer for this one", async () => {
    const { ask: asker, requests } = askedBy(() => answerWith(STAGING));
    const source = createLabelSource({ ask: asker, clock: makeClock() });
    const renamed = volumes({}, { environmentIds: new Map([["env-s", "production"]]) });
    expect(environmentOf(await source.labelsOf(UPSTREAM, RESOURCE, QUIET))).toEqual(["staging"]);
    expect(environmentOf(await source.labelsOf(renamed, RESOURCE, QUIET))).toEqual(["production"]);
    expect(environmentOf(await source.labelsOf(UPSTREAM, RESOURCE, QUIET))).toEqual(["staging"]);
    expect(requests.length).toBe(3);
  });

  it("a caller who may not ask stops itself, and none of those who joined it", async () => {
    const { ask: asker, requests } = askedBy(() => answerWith(STAGING));
    const source = createLabelSource({ ask: asker, clock: makeClock() });
    const spent = () => Promise.reject(new BrokerError("limit_reached", "too many look-ups"));
    const asked: string[] = [];
    const all = await Promise.allSettled([
      ...Array.from({ length: 3 }, () => source.labelsOf(UPSTREAM, RESOURCE, { fresh: false, onAsk: spent })),
      ...["a", "b"].map((name) =>
        source.labelsOf(UPSTREAM, RESOURCE, { fresh: false, onAsk: async () => void asked.push(name) }),
      ),
    ]);
    // Whoever comes after the first that may ask is served without asking.
    expect(all[0]).toMatchObject({ status: "rejected", reason: { code: "limit_reached" } });
    expect(all.slice(3)).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }]);
    expect(asked.length).toBe(1);
    expect(requests.length).toBe(1);
  });
});
