// The address of a Redis store: what is one, what is none, and what is shown of it.

import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatRedisAddress,
  isPlainRemote,
  nodesOf,
  parseRedisAddress,
  type RedisAddress,
} from "../../src/core/redis-address.ts";

function parse(text: string): RedisAddress {
  const parsed = parseRedisAddress(text);
  if (parsed.outcome === "refused") throw new Error(parsed.message);
  return parsed.address;
}

const textOf = (address: RedisAddress): string | null =>
  address.password === null ? null : new TextDecoder().decode(address.password.reveal());

function refusalOf(text: string): string {
  const parsed = parseRedisAddress(text);
  if (parsed.outcome === "parsed") throw new Error(`expected a refusal of ${text}`);
  return parsed.message;
}

const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const host = fc.oneof(
  fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join(".")),
  fc.ipV4(),
  // As `URL` writes them: one form of each.
  fc.ipV6().map((address) => new URL(`http://[${address}]`).hostname.slice(1, -1)),
);
const node = fc.record({ host, port: fc.integer({ min: 1, max: 65_535 }) });
const nodes = fc.uniqueArray(node, { minLength: 1, maxLength: 16, selector: ({ host, port }) => `${host} ${port}` });
const visible = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => !/\p{Cc}/u.test(text));
const user = visible.filter((text) => !/\s/.test(text));
const credentials = fc.record({ user: fc.option(user), password: fc.option(visible) });

interface Written {
  readonly text: string;
  readonly shown: string;
  readonly address: object;
  readonly password: string | null;
}

const written: fc.Arbitrary<Written> = fc
  .record({
    isTls: fc.boolean(),
    credentials,
    place: fc.oneof(
      fc.record({ kind: fc.constant("single" as const), node, database: fc.integer({ min: 0, max: 65_535 }) }),
      fc.record({ kind: fc.constant("sentinel" as const), nodes, master: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/) }),
      fc.record({ kind: fc.constant("cluster" as const), nodes }),
    ),
  })
  .map(({ isTls, credentials: { user, password }, place }) => {
    const scheme = `redis${isTls ? "s" : ""}${place.kind === "single" ? "" : `+${place.kind}`}://`;
    const listed = place.kind === "single" ? [place.node] : place.nodes;
    const hosts = listed
      .map((each) => `${each.host.includes(":") ? `[${each.host}]` : each.host}:${each.port}`)
      .join(",");
    const database = place.kind === "single" && place.database > 0 ? `/${place.database}` : "";
    const end = place.kind === "sentinel" ? `/${place.master}` : database;
    const name = user === null ? "" : encodeURIComponent(user);
    const secret = password === null ? "" : `:${encodeURIComponent(password)}`;
    return {
      text: `${scheme}${name}${secret}${name + secret === "" ? "" : "@"}${hosts}${end}`,
      shown: `${scheme}${name}${name === "" ? "" : "@"}${hosts}${end}`,
      address: { ...place, isTls, user },
      password,
    };
  });

describe("the address of a Redis store", () => {
  it("is read as it was written, whatever is in it", () => {
    fc.assert(
      fc.property(written, ({ text, address, password }) => {
        const parsed = parse(text);
        expect(parsed).toMatchObject(address);
        expect(textOf(parsed)).toBe(password);
      }),
    );
  });

  it("is shown without its password, in a form that is an address of the same", () => {
    fc.assert(
      fc.property(written, ({ text, shown, address }) => {
        const parsed = parse(text);
        expect(formatRedisAddress(parsed)).toBe(shown);
        expect(parse(shown)).toMatchObject(address);
      }),
    );
  });

  it("shows no password, in no form of it", () => {
    const address = parse("redis://broker:hunter2hunter2@db.example/1");
    for (const shown of [formatRedisAddress(address), JSON.stringify(address), inspect(address, { depth: 9 })])
      expect(shown).not.toContain("hunter2");
  });

  it("says what is wrong without any of what may be a password", () => {
    const secret = "hunter2hunter2";
    const wrong = [
      `redis://broker:${secret}`,
      `redis://broker:${secret}@`,
      `redis://broker:${secret}@host:${secret}`,
      `redis://broker:${secret}/more@host`,
      `redis://broker:${secret}#@host`,
      `redis://broker:${secret}%0A@host`,
      `redis://broker:${secret}%FF@host`,
      `redis://broker:${secret}%@host`,
      `redis://broker:${secret}@more@host`,
      `redis://${secret}@host/${secret}`,
      `redis+sentinel://:${secret}@host/`,
      `redis+cluster://:${secret}@host,host`,
      `http://broker:${secret}@host`,
      `redis://host?password=${secret}`,
    ];
    for (const text of wrong) expect(refusalOf(text)).not.toContain(secret);
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        const parsed = parseRedisAddress(`redis://${secret}${text}${secret}`);
        if (parsed.outcome === "refused") expect(parsed.message).not.toContain(secret);
      }),
    );
  });

  it.each([
    ["redis://", /host/],
    ["redis:///0", /host/],
    ["redis://host:0", /port/],
    ["redis://host:65536", /port/],
    ["redis://host:", /port/],
    ["redis://host:06379", /port/],
    ["redis://host:6379/65536", /database/],
    ["redis://host:6379/00", /database/],
    ["redis://host/0/1", /database/],
    ["redis://a,b", /one server/],
    ["redis://host?db=1", /no \?/],
    ["redis://host#1", /no \?/],
    ["redis://@host", /before the @/],
    ["redis://:@host", /before the @/],
    ["redis://user:@host", /before the @/],
    ["redis://a@b@host", /one @/],
    ["redis://us%20er@host", /without spaces/],
    ["redis://:a%00b@host", /control/],
    ["redis://:%C3%28@host", /UTF-8/],
    ["redis://:a b@host", /visible ASCII/],
    ["redis://hóst", /visible ASCII/],
    ["redis://::1", /brackets/],
    ["redis://[::1", /brackets/],
    ["redis://[127.0.0.1]", /brackets/],
    ["redis://[fe80::1%25eth0]", /brackets/],
    ["redis://127.1", /host name/],
    ["redis://0x7f.1", /host name/],
    ["redis://1.2.3.256", /host name/],
    ["redis://-host", /host name/],
    ["redis://a..b", /host name/],
    ["redis+sentinel://a,b", /NAME/],
    ["redis+sentinel://a,b/", /NAME/],
    ["redis+sentinel://a,b/na/me", /NAME/],
    ["redis+sentinel://a,,b/name", /node 2/],
    ["redis+cluster://a,b/0", /databases/],
    ["redis+cluster://a,A:6379", /once/],
    [`redis+cluster://${Array.from({ length: 17 }, (_, i) => `n${i}`).join(",")}`, /at most 16/],
    [`redis://${"a".repeat(64)}.${"b".repeat(200)}`, /host name/],
    [`redis://:${"p".repeat(513)}@host`, /at most 512/],
    [`redis://${"u".repeat(129)}@host`, /at most 128/],
    [`redis://${"x".repeat(5000)}`, /at most 4096/],
    ["redis+tls://host", /begins with redis/],
    ["REDIS://host", /begins with redis/],
    ["", /begins with redis/],
  ])("refuses %j", (text, why) => {
    expect(refusalOf(text)).toMatch(why);
  });

  it("has the usual ports where none is written", () => {
    expect(parse("redis://Host.Example")).toMatchObject({ node: { host: "host.example", port: 6379 }, database: 0 });
    expect(nodesOf(parse("redis+sentinel://a,b:1/name"))).toEqual([
      { host: "a", port: 26_379 },
      { host: "b", port: 1 },
    ]);
    expect(nodesOf(parse("rediss+cluster://[::1]"))).toEqual([{ host: "::1", port: 6379 }]);
  });

  it("warns of what others can read: another machine without TLS", () => {
    const plain = [
      "redis://db.example",
      "redis://10.0.0.1",
      "redis+cluster://localhost,db.example",
      "redis://[fe80::1]",
    ];
    for (const text of plain) expect([text, isPlainRemote(parse(text))]).toEqual([text, true]);
    const safe = ["redis://localhost", "redis://127.0.0.9:1", "redis://[::1]", "rediss://db.example"];
    for (const text of safe) expect([text, isPlainRemote(parse(text))]).toEqual([text, false]);
    expect(isPlainRemote(parse("redis://127.0.0.1.example"))).toBe(true);
  });
});
