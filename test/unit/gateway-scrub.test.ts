// The scrubber by example: what it blots out, what it leaves, what it holds back, and what it refuses to search.

import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import { createScrubber } from "../../src/gateway/scrub.ts";

const KEY = "root-key/with+signs=1";
const scrubberOf = (secret: string): ReturnType<typeof createScrubber> =>
  createScrubber(new Secret(Buffer.from(secret)));
const stars = (text: string): string => "*".repeat(text.length);

describe("a text", () => {
  it.each([
    ["as it is", KEY],
    ["percent-encoded by a browser", encodeURIComponent(KEY)],
    ["percent-encoded but for slashes", "root-key/with%2bsigns%3D1"],
    [
      "with every character percent-encoded",
      Array.from(KEY)
        .map((one) => `%${one.charCodeAt(0).toString(16)}`)
        .join(""),
    ],
    ["with escaped slashes", KEY.replaceAll("/", "\\/")],
    [
      "in escapes of JSON",
      Array.from(KEY)
        .map((one) => `\\u00${one.charCodeAt(0).toString(16).toUpperCase()}`)
        .join(""),
    ],
    ["in base64", "cm9vdC1rZXkvd2l0aCtzaWducz0x"],
    ["in hexadecimal", Buffer.from(KEY).toString("hex").toUpperCase()],
  ])("loses the secret %s", (_, written) => {
    const scrubber = scrubberOf(KEY);
    expect(scrubber.text(`before ${written} after`)).toBe(`before ${stars(written)} after`);
    expect(scrubber.found).toBe(1);
  });

  it("loses a secret of several lines from JSON, whatever its signs", () => {
    const secret = '\tkey: "a\\b"\r\n\b\f/end';
    for (const written of [JSON.stringify(secret).slice(1, -1), secret]) {
      expect(scrubberOf(secret).text(`"${written}"`)).toBe(`"${stars(written)}"`);
    }
  });

  it("loses what the secret alone decides in the base64 of user name and password", () => {
    const value = `Basic ${Buffer.from(`user:${KEY}`).toString("base64")}`;
    // `p` holds two bits of the secret, and the last character four.
    expect(scrubberOf(KEY).text(value)).toBe(`Basic dXNlcjp${"*".repeat(27)}${value.slice(-2)}`);
  });

  it("loses both of two secrets that overlap, and counts them once", () => {
    const scrubber = scrubberOf("abcabcab");
    expect(scrubber.text("xabcabcabcaby")).toBe("x***********y");
    expect(scrubber.found).toBe(1);
    expect(scrubber.text("abcabcab abcabcab")).toBe("******** ********");
    expect(scrubber.found).toBe(3);
  });

  it("keeps its other characters whatever they are, and the very same where nothing is found", () => {
    const other = "caf\u00e9 \u20ac \ud83d\ude00 \ud800";
    expect(scrubberOf(KEY).text(other)).toBe(other);
    expect(scrubberOf(KEY).text(`\u20ac ${KEY} \ud83d\ude00`)).toBe(`\u20ac ${stars(KEY)} \ud83d\ude00`);
    expect(scrubberOf(KEY).text(`caf\u00e9 ${KEY}`)).toBe(`caf\u00e9 ${stars(KEY)}`);
  });

  it("loses a secret beyond ASCII from a header, whose characters are bytes, and from other texts", () => {
    const secret = "schl\u00fcssel-\u20ac";
    const bytes = Buffer.from(secret);
    expect(scrubberOf(secret).text(bytes.toString("latin1"))).toBe("*".repeat(bytes.length));
    expect(scrubberOf(secret).text(`\u{1f600}${secret}`)).toBe(`\u{1f600}${"*".repeat(bytes.length)}`);
  });

  it("keeps what is shorter than six characters: ordinary text would be blotted out with it", () => {
    expect(scrubberOf("abcde").text("abcde")).toBe("abcde");
    expect(scrubberOf("abcdef").text("abcdef")).toBe("******");
    expect(scrubberOf("abc").text("abc 616263 YWJj")).toBe("abc ****** YWJj");
    expect(scrubberOf("a").text("a 61 YQ==")).toBe("a 61 YQ==");
  });
});

describe("a stream", () => {
  /** What comes out at once after each chunk, then at the end. */
  function passOn(
    secret: string,
    chunks: readonly string[],
  ): { readonly atOnce: readonly string[]; readonly rest: string } {
    const stream = scrubberOf(secret).stream();
    const read = (): string => (stream.read() as Buffer | null)?.toString() ?? "";
    const atOnce = chunks.map((chunk) => {
      stream.write(chunk);
      return read();
    });
    stream.end();
    return { atOnce, rest: read() };
  }

  it("passes each event on at once, and holds back nothing but what may begin the secret", () => {
    const { atOnce, rest } = passOn(KEY, [
      "data: one\n\n",
      "data: roo",
      "f\n\n",
      "root-key/",
      "with+signs=1!",
      "root-key",
    ]);
    expect(atOnce).toEqual(["data: one\n\n", "data: ", "roof\n\n", "", `${stars(KEY)}!`, ""]);
    expect(rest).toBe("root-key");
  });

  it("finds a secret of 16 KB that comes byte by byte", () => {
    const secret = Array.from({ length: 512 }, (_, i) =>
      createHash("sha256").update(`${i}`).digest("hex").slice(0, 32),
    ).join("");
    const { atOnce, rest } = passOn(secret, Array.from(`<${secret}>`));
    expect(atOnce.join("") + rest).toBe(`<${stars(secret)}>`);
  });

  it("fails an answer that is made so that searching it would not end", async () => {
    const scrubber = scrubberOf("a".repeat(16_384));
    const stream = scrubber.stream();
    const failure = new Promise<unknown>((resolve) => stream.once("error", resolve));
    stream.write(Buffer.alloc(65_536, "a"));
    const error = await failure;
    expect(error).toBeInstanceOf(BrokerError);
    expect(error).toMatchObject({ code: "upstream_failed" });
    expect(stream.read()).toBeNull();
  });

  it("searches a long answer that is full of the secret to its end", () => {
    const [times, chunks] = [3000, 160];
    const { atOnce, rest } = passOn(
      KEY,
      Array.from({ length: chunks }, () => KEY.repeat(times)),
    );
    expect(atOnce.every((passed) => passed === stars(KEY).repeat(times))).toBe(true);
    expect([atOnce.length, rest]).toEqual([chunks, ""]);
  });
});

describe("a scrubber", () => {
  it("counts by itself, though what it searches by is made once for a secret", () => {
    const secret = new Secret(Buffer.from(KEY));
    const [one, other] = [createScrubber(secret), createScrubber(secret)];
    expect(one.text(KEY) + one.whole(Buffer.from(KEY)).toString()).toBe(stars(KEY + KEY));
    expect(other.text("nothing")).toBe("nothing");
    expect([one.found, other.found]).toEqual([2, 0]);
  });

  it("does not show the secret when it is inspected, nor does its stream", () => {
    const scrubber = scrubberOf(KEY);
    const stream = scrubber.stream();
    stream.write("root-key/with+signs");
    const shown = inspect([scrubber, stream], { depth: 12, showHidden: true, getters: true });
    // As text, and as the bytes of a buffer.
    for (const written of ["root-key", "72 6f 6f 74", "63 6d 39 76"]) expect(shown).not.toContain(written);
  });
});
