// Labels from the provider: what is asked, what of the answer becomes a label, and for how long it serves.

import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { createLabelSource } from "../../src/gateway/resolve.ts";
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

const FRESH = { ...QUIET, fresh: true };
const UPSTREAM = volumes();
const STAGING = volumeData("v1", ["env-s"]);

function sourceOf(answer: Parameters<typeof askedBy>[0]) {
  const clock = makeClock();
  const asker = askedBy(answer);
  return { source: createLabelSource({ ask: asker.ask, clock }), clock, requests: asker.requests };
}

/** What becomes of one answer about `cloud:volume/v1`. */
async function read(answer: Answered, upstream = volumes()) {
  return await sourceOf(() => answer).source.labelsOf(upstream, "cloud:volume/v1", QUIET);
}

async function readRepository(answer: Answered, upstream = repositories()) {
  return await sourceOf(() => answer).source.labelsOf(upstream, "hub:repo/7", QUIET);
}

describe("asking a provider for labels", () => {
  it("asks nobody about a resource that no resolver is for", () => {
    const { source, requests } = sourceOf(() => answerWith(STAGING));
    expect(source.labelsOf(volumes(), "cloud:service/web", QUIET)).toBeNull();
    expect(requests).toEqual([]);
  });

  it("sends a GraphQL query with the resource as a variable, never in the text", async () => {
    const { source, requests } = sourceOf(() => answerWith(STAGING));
    await source.labelsOf(volumes(), "cloud:volume/v1", QUIET);
    const [request] = requests;
    expect(request).toMatchObject({ method: "POST", path: "/graphql/v2" });
    expect(new Map(request?.headers)).toEqual(
      new Map([
        ["accept", "application/json"],
        ["content-type", "application/json"],
      ]),
    );
    const body: unknown = JSON.parse(new TextDecoder().decode(request?.body ?? new Uint8Array()));
    expect(body).toEqual({ query: expect.not.stringContaining("v1"), variables: { id: "v1" } });
  });

  it("sends a GET without a body", async () => {
    const { source, requests } = sourceOf(() => answerWith({ id: 7, env: "env-s" }));
    await source.labelsOf(repositories(), "hub:repo/7", QUIET);
    expect(requests).toEqual([
      { method: "GET", path: "/repos/7", headers: [["accept", "application/json"]], body: null },
    ]);
  });

  it("uses the first resolver that is for the resource", async () => {
    const upstream = volumes();
    const other = volumes({ labels: [["environment", expression("volume.id")]] });
    const both = { ...upstream, resolvers: [...upstream.resolvers, ...other.resolvers] };
    expect(await read(answerWith(STAGING), both)).toMatchObject({ labels: { environment: ["staging"] } });
  });

  it("waits for the record before it sends, and sends nothing when that fails", async () => {
    const { source, requests } = sourceOf(() => answerWith(STAGING));
    const seen: number[] = [];
    const onAsk = async () => {
      await Promise.resolve();
      seen.push(requests.length);
      throw new BrokerError("audit_unavailable", "the disk is full");
    };
    await expect(source.labelsOf(volumes(), "cloud:volume/v1", { fresh: false, onAsk })).rejects.toMatchObject({
      code: "audit_unavailable",
    });
    expect(seen).toEqual([0]);
    expect(requests).toEqual([]);
  });
});

describe("the labels of an answer", () => {
  it("are those of the table of environments, with upstream and type, and can be changed by nobody", async () => {
    const found = await read(answerWith(STAGING));
    if (found?.outcome !== "resolved") throw new Error(JSON.stringify(found));
    expect({ ...found.labels }).toEqual({ environment: ["staging"], upstream: ["cloud"], type: ["volume"] });
    expect(Object.getPrototypeOf(found.labels)).toBeNull();
    expect([found, found.labels, ...Object.values(found.labels)].every(Object.isFrozen)).toBe(true);
  });

  it("keep several values, each once", async () => {
    const found = await read(answerWith(volumeData("v1", ["env-p", "env-s", 17, "env-p"])));
    expect(found).toMatchObject({ labels: { environment: ["production", "staging"] } });
  });

  it("take texts and integers, alone or in a list", async () => {
    const found = await readRepository(answerWith({ id: 7, env: 17, team: ["shop", 4] }));
    expect(found).toMatchObject({ labels: { environment: ["staging"], team: ["shop", "4"] } });
  });

  it("leave a label out that has no value, but never the environment", async () => {
    for (const team of [null, []]) {
      const found = await readRepository(answerWith({ id: 7, env: "env-s", team }));
      expect(found?.outcome === "resolved" && "team" in found.labels).toBe(false);
    }
    for (const env of [null, [], [[]]]) {
      expect(await readRepository(answerWith({ id: 7, env }))).toMatchObject({
        outcome: "unknown",
        why: "hub names no environment of hub:repo/7",
      });
    }
    expect(await read(answerWith(volumeData("v1", [])))).toMatchObject({ outcome: "unknown" });
  });

  it("cannot be upstream or type: these are built in", async () => {
    const labels = [...repositories().resolvers].flatMap((resolver) => resolver.labels);
    const upstream = repositories({ labels: [...labels, ["type", expression("team")]] });
    const found = await readRepository(answerWith({ id: 7, env: "env-s", team: "volume" }), upstream);
    expect(found).toMatchObject({ labels: { type: ["repo"] } });
  });

  it.each([
    ["a boolean", true],
    ["a fraction", 1.5],
    ["an object", { id: "env-s" }],
    ["a null among others", ["env-s", null]],
    ["a list three deep", [[["env-s"]]]],
    ["more than 256 values", Array.from({ length: 257 }, () => "env-s")],
  ])("are refused with %s for an environment", async (_, env) => {
    await expect(readRepository(answerWith({ id: 7, env }))).rejects.toMatchObject({ code: "upstream_failed" });
  });

  it.each(["", "with space", "a/b", "-a", "é", "x".repeat(65)])("are refused with %j for a team", async (team) => {
    await expect(readRepository(answerWith({ id: 7, env: "env-s", team }))).rejects.toMatchObject({
      code: "upstream_failed",
      detail: expect.stringContaining("team"),
    });
  });
});

describe("a resource that the provider does not know", () => {
  it("is unknown, and not a failure", async () => {
    expect(await read(answerWith({ data: { volume: null } }))).toMatchObject({ outcome: "unknown" });
    expect(await read(answerWith({ data: null, errors: [] }))).toMatchObject({ outcome: "unknown" });
    const missing = { outcome: "unknown", why: "hub has no hub:repo/7" };
    expect(await readRepository(answerWith("not found", { status: 404 }))).toMatchObject(missing);
  });

  it("is not told by a 404 of a GraphQL endpoint: that is one which is not there", async () => {
    await expect(read(answerWith({ data: null }, { status: 404 }))).rejects.toMatchObject({ code: "upstream_failed" });
  });
});

describe("what was learned", () => {
  it("serves for as long as the definition says, by the steady clock, from before it was asked", async () => {
    const { source, clock, requests } = sourceOf(() => {
      clock.advance(4000);
      return answerWith(STAGING);
    });
    const ask = () => source.labelsOf(UPSTREAM, "cloud:volume/v1", QUIET);
    await ask();
    clock.jump(3_600_000);
    clock.advance(25_999);
    await ask();
    expect(requests.length).toBe(1);
    clock.advance(1);
    await ask();
    expect(requests.length).toBe(2);
  });

  it("needs nothing on record while it serves: nothing is sent", async () => {
    const { source } = sourceOf(() => answerWith(STAGING));
    const upstream = volumes();
    await source.labelsOf(upstream, "cloud:volume/v1", QUIET);
    const refuse = () => Promise.reject(new Error("nothing is sent"));
    await expect(source.labelsOf(upstream, "cloud:volume/v1", { fresh: false, onAsk: refuse })).resolves.toMatchObject({
      outcome: "resolved",
    });
  });

  it("does not serve a fresh question, and is replaced by its answer", async () => {
    let environment = "env-s";
    const { source, requests } = sourceOf(() => answerWith(volumeData("v1", [environment])));
    const upstream = volumes();
    await source.labelsOf(upstream, "cloud:volume/v1", QUIET);
    environment = "env-p";
    for (const options of [FRESH, QUIET]) {
      expect(await source.labelsOf(upstream, "cloud:volume/v1", options)).toMatchObject({
        labels: { environment: ["production"] },
      });
    }
    expect(requests.length).toBe(2);
  });

  it.each([
    ["a failure", answerWith("no", { status: 500 })],
    ["an unknown resource", answerWith({ data: { volume: null } })],
    ["an unknown environment", answerWith(volumeData("v1", ["env-x"]))],
  ])("is never %s, and that ends what was known", async (_, bad) => {
    let answer = answerWith(STAGING);
    const { source, requests } = sourceOf(() => answer);
    const ask = (options: typeof QUIET | typeof FRESH) =>
      source.labelsOf(UPSTREAM, "cloud:volume/v1", options)?.catch(() => null);
    await ask(QUIET);
    answer = bad;
    await ask(FRESH);
    await ask(QUIET);
    await ask(QUIET);
    expect(requests.length).toBe(4);
  });

  it("is kept of 10,000 resources at most: the oldest goes", async () => {
    const { source, requests } = sourceOf((request) => {
      // What this source itself sent.
      const { variables } = JSON.parse(new TextDecoder().decode(request.body ?? new Uint8Array())) as {
        variables: { id: string };
      };
      return answerWith(volumeData(variables.id, ["env-s"]));
    });
    const upstream = volumes();
    for (let i = 0; i <= 10_000; i++) await source.labelsOf(upstream, `cloud:volume/${i}`, QUIET);
    await source.labelsOf(upstream, "cloud:volume/10000", QUIET);
    await source.labelsOf(upstream, "cloud:volume/1", QUIET);
    expect(requests.length).toBe(10_001);
    await source.labelsOf(upstream, "cloud:volume/0", QUIET);
    expect(requests.length).toBe(10_002);
  });
});
