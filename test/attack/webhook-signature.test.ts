// Messages that were altered, replayed under another id or signed with another secret: the receiver's own library
// refuses them. And secrets of the wrong form: nothing is signed with them, and nothing of them is repeated.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { type MessageHeaders, signMessage } from "../../src/webhooks/sign-message.ts";
import { SIGNING_SECRET, verify } from "../support/webhook-receiver.ts";

const AT = Date.UTC(2026, 10, 2, 9);
const MESSAGE = { id: "evt_1", body: '{"type":"hold.created"}' };
const secretOf = (text: string): Secret => new Secret(Buffer.from(text));
const keyOf = (bytes: Uint8Array): string => `whsec_${Buffer.from(bytes).toString("base64")}`;
const verdict = (body: string, headers: MessageHeaders, secret?: string) =>
  verify(body, Object.fromEntries(headers), secret);
const changed = (headers: MessageHeaders, name: string, value: string): MessageHeaders =>
  headers.map((header) => (header[0] === name ? ([name, value] as const) : header));

beforeEach(() => void vi.setSystemTime(AT));
afterEach(() => void vi.useRealTimers());

describe("a signature", () => {
  const headers = signMessage(MESSAGE, AT, secretOf(SIGNING_SECRET));

  it("verifies for its message, whatever the text and the key", () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.stringMatching(/^evt_[0-9A-Z]{26}$/),
        fc.uint8Array({ minLength: 24, maxLength: 64 }),
        (body, id, key) => {
          const signed = signMessage({ id, body }, AT, secretOf(keyOf(key)));
          expect(verdict(body, signed, keyOf(key))).toEqual(JSON.parse(body));
        },
      ),
    );
  });

  it("fails for any other text", () => {
    fc.assert(
      fc.property(fc.nat(MESSAGE.body.length - 1), fc.integer({ min: 1, max: 127 }), (at, by) => {
        const bytes = Buffer.from(MESSAGE.body);
        bytes[at] = (bytes[at] ?? 0) ^ by;
        expect(verdict(bytes.toString(), headers)).toBeInstanceOf(Error);
      }),
    );
  });

  it.each([
    ["another id", changed(headers, "webhook-id", "evt_2")],
    ["another time", changed(headers, "webhook-timestamp", String(AT / 1000 + 1))],
    ["no signature", changed(headers, "webhook-signature", "")],
    ["a signature of another version", changed(headers, "webhook-signature", "v2,AAAA")],
  ])("fails with %s", (_what, altered) => {
    expect(verdict(MESSAGE.body, headers)).toEqual({ type: "hold.created" });
    expect(verdict(MESSAGE.body, altered)).toBeInstanceOf(Error);
  });

  it("fails with another key, and minutes later", () => {
    expect(verdict(MESSAGE.body, headers, keyOf(Buffer.alloc(32, 6)))).toBeInstanceOf(Error);
    vi.setSystemTime(AT + 301_000);
    expect(verdict(MESSAGE.body, headers)).toBeInstanceOf(Error);
  });
});

describe("a signing secret", () => {
  it.each([
    ["without its prefix", SIGNING_SECRET.slice(6)],
    ["too short", keyOf(Buffer.alloc(23, 77))],
    ["too long", keyOf(Buffer.alloc(65, 77))],
    ["in base64url", "whsec_----____----____----____----____"],
    ["with a line end", `${SIGNING_SECRET}\n`],
    ["with bits that no byte has", `whsec_${"A".repeat(32)}AB==`],
    ["empty", "whsec_"],
    ["of a provider", "root-credential-of-a-provider"],
  ])("%s is refused, and not repeated", (_what, text) => {
    let thrown: unknown;
    try {
      signMessage(MESSAGE, AT, secretOf(text));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "secret_unavailable", detail: expect.stringContaining("whsec_") });
    if (text.length > 6) expect(String(thrown)).not.toContain(text.trim());
  });
});
