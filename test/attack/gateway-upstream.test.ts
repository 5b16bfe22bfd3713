// What an upstream does that is broken or hostile, seen through the front door: the caller gets one clear refusal or what
// is fit to be passed on, never the root credential, and the record says what became of the call.

import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, makeCertificate } from "../support/make-certificate.ts";
import { type OddGateway, ROOT, startOddGateway } from "../support/odd-gateway.ts";
import {
  type Behaviour,
  huge,
  never,
  type OddUpstream,
  openOddUpstream,
  PATIENCE,
  plain,
  raw,
  resets,
  resetsMidwayOf,
  stopsMidwayOf,
} from "../support/odd-upstream.ts";

let gateway: OddGateway;
let distrusted: OddUpstream;
let elsewhere: OddUpstream;
let certificate: Certificate;
beforeAll(async () => {
  certificate = makeCertificate(["DNS:localhost", "IP:127.0.0.1"]);
  distrusted = await openOddUpstream(plain("secret"), { tls: certificate });
  elsewhere = await openOddUpstream(plain("elsewhere"));
  gateway = await startOddGateway({
    others: {
      distrusted: { origin: distrusted.origin },
      // Its name resolves to 127.0.0.1, which the definition does not name.
      named: { origin: `https://localhost:${distrusted.port}`, more: "" },
      "named-plain": { origin: `http://localhost:${elsewhere.port}`, more: "" },
      literal: { origin: elsewhere.origin, more: "" },
      closed: { origin: "http://127.0.0.1:1" },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await distrusted.close();
  await elsewhere.close();
});

/** Refused with this code before a byte of the answer was passed on; what the record says of the call. */
async function expectFailed(behaviour: Behaviour, code: string, event: object): Promise<void> {
  gateway.behave(behaviour);
  const before = gateway.upstream.requests.length;
  const answer = await gateway.read();
  expect(answer, answer.text).toMatchObject({ status: code === "upstream_timeout" ? 504 : 502, error: code });
  expect(answer.json).toMatchObject({ code, reasons: [] });
  expect(answer.text).not.toContain(ROOT);
  // Once: nothing is repeated by itself.
  expect(gateway.upstream.requests.length - before).toBe(1);
  await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject(event);
}

describe("an upstream", () => {
  it("that never answers is a timeout, and nobody knows what it did", async () => {
    await expectFailed(never, "upstream_timeout", { type: "call.unknown", cause: "upstream_timeout", agent: "coder" });
  });

  it("that resets is a failure, and nobody knows what it did", async () => {
    await expectFailed(resets, "upstream_failed", { type: "call.unknown", cause: "upstream_failed" });
  });

  it.each<[string, Behaviour, number]>([
    ["a redirect to another host", plain("", ["Location: https://evil.example/things/1"], "302 Found"), 302],
    ["a redirect to itself", plain("", ["Location: /things/2"], "307 Temporary Redirect"), 307],
    ["a compressed answer", plain(gzipSync("hello").toString("latin1"), ["Content-Encoding: gzip"]), 200],
  ])("that answers with %s is a failure: its status is on record", async (_what, behaviour, status) => {
    const event = { type: "call.forwarded", status, cut: "upstream_failed", responseBytes: 0 };
    await expectFailed(behaviour, "upstream_failed", event);
  });

  it.each<[string, Behaviour]>([
    ["two lengths", raw("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6", "", "hello")],
    ["a length and chunks", raw("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked", "", "0", "", "")],
    [
      "a switch of protocols",
      raw("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade", "", ""),
    ],
    ["no HTTP", raw("220 ftp.example ready", "")],
    ["a control character in a header", raw("HTTP/1.1 200 OK", "X-A: a\u0001b", "Content-Length: 0", "", "")],
    ["40 KB of headers", raw("HTTP/1.1 200 OK", `X-A: ${"a".repeat(40_000)}`, "Content-Length: 0", "", "")],
  ])("that answers with %s is a failure, and nothing of it is passed on", async (_what, behaviour) => {
    await expectFailed(behaviour, "upstream_failed", { type: "call.unknown", cause: "upstream_failed" });
  });

  it("that says that it answers 200 MB is a failure: its status is on record, nothing of it is passed on", async () => {
    let sent = 0;
    await expectFailed(
      huge(200 * 1_048_576, (bytes) => (sent += bytes), true),
      "upstream_failed",
      { type: "call.forwarded", status: 200, cut: "upstream_failed", responseBytes: 0 },
    );
    expect(sent).toBeLessThan(16 * 1_048_576);
  });

  it("that answers 200 MB without saying so is cut at the limit: the caller sees half an answer fail", async () => {
    let sent = 0;
    gateway.behave(huge(200 * 1_048_576, (bytes) => (sent += bytes), false));
    const answer = await gateway.get();
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow("terminated");
    expect(sent).toBeLessThan(32 * 1_048_576);
    await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject({ type: "call.forwarded", cut: "too_large" });
  });

  it.each<[string, Behaviour, string]>([
    ["resets", resetsMidwayOf(100_000), "upstream_failed"],
    ["falls silent", stopsMidwayOf(100_000), "upstream_timeout"],
  ])("that %s in the middle never looks like a whole answer", async (_what, behaviour, cut) => {
    gateway.behave(behaviour);
    const answer = await gateway.get();
    await expect(answer.text()).rejects.toThrow("terminated");
    await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject({ type: "call.forwarded", status: 200, cut });
  });

  it.each<[string, Behaviour, string]>([
    ["resets", resetsMidwayOf(100), "upstream_failed"],
    ["falls silent", stopsMidwayOf(100), "upstream_timeout"],
  ])("that %s in a small answer is a failure: nothing of it is passed on", async (_what, behaviour, code) => {
    await expectFailed(behaviour, code, { type: "call.forwarded", status: 200, cut: code });
  });

  it.each([
    ["an invalid certificate", "distrusted", "certificate"],
    ["a name that resolves to 127.0.0.1", "named", "private or special address"],
    ["a name that resolves to 127.0.0.1, without TLS", "named-plain", "private or special address"],
    ["a private address that its definition does not name", "literal", "private or special address"],
    ["a port where nobody listens", "closed", "refuses connections"],
  ])("with %s is not sent anything", async (_what, name, why) => {
    const answer = await gateway.read(name);
    expect(answer).toMatchObject({ status: 502, error: "upstream_failed" });
    expect(answer.json["detail"]).toContain(why);
    expect([distrusted.requests, elsewhere.requests, elsewhere.connections()]).toEqual([[], [], 0]);
    const event = { type: "call.undelivered", cause: "upstream_failed", upstream: name };
    await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject(event);
  });
});

describe("an answer", () => {
  it("loses what acts in the broker's name or origin, and HTML of it can do nothing", async () => {
    const headers = [
      "Set-Cookie: session=1",
      "Valetkey-Error: cut_off",
      "Valetkey-Hold: hld_1",
      "Keep-Alive: timeout=600",
    ];
    const more = ["Connection: keep-alive, X-Hop", "X-Hop: 1", "Access-Control-Allow-Origin: *", "X-Kept: yes"];
    const html = "<script>fetch('/v1/grants')</script>";
    gateway.behave(
      plain(html, [...headers, ...more, "Content-Type: text/html", "Content-Security-Policy: default-src *"]),
    );
    const answer = await gateway.read();
    expect([answer.status, answer.text, answer.error]).toEqual([200, html, null]);
    expect(
      ["set-cookie", "valetkey-hold", "x-hop", "access-control-allow-origin", "x-kept"].map((name) =>
        answer.headers.get(name),
      ),
    ).toEqual([null, null, null, null, "yes"]);
    expect(answer.headers.get("content-security-policy")).toBe("sandbox");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("keep-alive")).not.toContain("600");
  });

  it("that refuses cannot pass for a refusal of the gateway's", async () => {
    gateway.behave(plain("{}", ["Valetkey-Error: environment_mismatch"], "403 Forbidden"));
    expect(await gateway.read()).toMatchObject({ status: 403, error: null });
  });

  const forms: Readonly<Record<string, string>> = {
    raw: ROOT,
    "in base64": Buffer.from(`Bearer ${ROOT}`).toString("base64"),
    "in base64, one place on": Buffer.from(`xBearer ${ROOT}`).toString("base64"),
    "in base64, two places on": Buffer.from(`xxBearer ${ROOT}`).toString("base64"),
    "in base64url": Buffer.from(ROOT).toString("base64url"),
    "percent-encoded": encodeURIComponent(ROOT),
    "percent-encoded, every byte": [...Buffer.from(ROOT)].map((byte) => `%${byte.toString(16)}`).join(""),
    "in hexadecimal": Buffer.from(ROOT).toString("hex"),
    "as JSON with escaped slashes": JSON.stringify(ROOT).replaceAll("/", "\\/"),
  };
  /** Six characters in a row of any form would be a part of it that was not blotted out. */
  const telling = (form: string): string => form.slice(10, 20);

  for (const [how, form] of Object.entries(forms)) {
    it(`that tells the root credential ${how} is blotted, in body and header, and that is on record`, async () => {
      gateway.behave(plain(`you sent ${form}, thanks`, [`X-Echo: ${form}`]));
      const answer = await gateway.read();
      expect(answer.text).not.toContain(telling(form));
      expect(answer.headers.get("x-echo")).not.toContain(telling(form));
      expect(answer.text).toMatch(/^you sent [^ ]*\*+[^ ]* thanks$/);
      await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject({ type: "call.forwarded", scrubbed: 2 });
    });

    it(`that tells the root credential ${how} in chunks of one byte is blotted`, async () => {
      const chunks = `you sent ${form}, thanks`.split("").map((byte) => `1\r\n${byte}\r\n`);
      gateway.behave(({ socket }) => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (const chunk of [...chunks, "0\r\n\r\n"]) socket.write(chunk);
      });
      const { text } = await gateway.read();
      expect(text).not.toContain(telling(form));
      expect(text).toMatch(/^you sent [^ ]*\*+[^ ]* thanks$/);
    });
  }

  it("of an error is blotted as well", async () => {
    gateway.behave(plain(`{"message":"bad key ${ROOT}"}`, ["Content-Type: application/json"], "401 Unauthorized"));
    const answer = await gateway.read();
    expect(answer).toMatchObject({ status: 401, error: null });
    expect(answer.text).not.toContain(ROOT);
  });
});

describe("a caller", () => {
  it("that goes away while the upstream works ends that work", async () => {
    gateway.behave(never);
    const { credential } = await gateway.grant();
    const leaving = new AbortController();
    const before = gateway.upstream.requests.length;
    const call = gateway.get({ credential: credential.value, signal: leaving.signal });
    await expect.poll(() => gateway.upstream.requests.length, PATIENCE).toBe(before + 1);
    const open = gateway.upstream.open();
    leaving.abort();
    await expect(call).rejects.toThrow("aborted");
    await expect.poll(() => gateway.upstream.open(), PATIENCE).toBeLessThan(open);
    await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject({ type: "call.unknown" });
  });

  it("that goes away while the answer streams ends that", async () => {
    gateway.behave(raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "5", "hello", ""));
    const answer = await gateway.get();
    const open = gateway.upstream.open();
    await answer.body?.cancel();
    await expect.poll(() => gateway.upstream.open(), PATIENCE).toBeLessThan(open);
    await expect.poll(() => gateway.outcome(), PATIENCE).toMatchObject({ type: "call.forwarded", cut: "abandoned" });
  });
});
