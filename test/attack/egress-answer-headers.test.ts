// An upstream's answer cannot act in the broker's origin, speak in the broker's name, or carry the root credential back.

import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { openOddUpstream, plain, raw } from "../support/odd-upstream.ts";
import { openPassingGateway } from "../support/passing-gateway.ts";

async function pass(
  headers: readonly string[],
  body = "hello",
  status = "200 OK",
): Promise<{ answer: Response; text: string }> {
  await using upstream = await openOddUpstream(plain(body, headers, status));
  await using gateway = await openPassingGateway(upstream);
  const answer = await fetch(gateway.url);
  return { answer, text: await answer.text() };
}

describe("the headers of an answer", () => {
  it.each([
    "Set-Cookie: session=1; Path=/",
    "SET-COOKIE: session=1",
    "Set-Cookie2: session=1",
    "Valetkey-Error: cut_off",
    "VALETKEY-Hold: hld_1",
    "Access-Control-Allow-Origin: *",
    "Access-Control-Allow-Credentials: true",
    'Alt-Svc: h2="elsewhere.test:443"',
    'Clear-Site-Data: "*"',
    "Cross-Origin-Resource-Policy: cross-origin",
    "Refresh: 0; url=https://elsewhere.test",
    "Service-Worker-Allowed: /",
    "Strict-Transport-Security: max-age=31536000",
    'WWW-Authenticate: Basic realm="console"',
    'Proxy-Authenticate: Basic realm="console"',
    "Keep-Alive: timeout=600",
    "Upgrade: h2c",
    "Trailer: X-A",
    "Proxy-Connection: keep-alive",
    "Content-Security-Policy-Report-Only: default-src 'none'",
    'NEL: {"report_to":"a"}',
    "SourceMap: /map",
  ])("are passed on without %s", async (line) => {
    const { answer, text } = await pass([line, "X-Kept: yes"]);
    const [name = ""] = line.split(":");
    const ours: Record<string, string> = { "keep-alive": "timeout=5" };
    expect(answer.headers.get(name)).toBe(ours[name.toLowerCase()] ?? null);
    expect([answer.headers.get("x-kept"), text]).toEqual(["yes", "hello"]);
  });

  it("are passed on without what the answer's Connection names", async () => {
    const { answer } = await pass(["Connection: keep-alive, X-Hop,x-other ", "X-Hop: 1", "X-Other: 2", "X-Kept: yes"]);
    expect(["x-hop", "x-other", "x-kept"].map((name) => answer.headers.get(name))).toEqual([null, null, "yes"]);
  });

  it("keep the sandbox, also where Connection names it or the answer brings its own", async () => {
    const named = "Connection: content-security-policy, x-content-type-options, cache-control, content-length";
    for (const lines of [[], [named], ["Content-Security-Policy: default-src *", "X-Content-Type-Options: sniff"]]) {
      const { answer, text } = await pass(lines);
      expect(answer.headers.get("content-security-policy")).toBe("sandbox");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect([answer.headers.get("content-length"), text]).toEqual(["5", "hello"]);
    }
  });

  it("say how the answer may be stored, or that it may not", async () => {
    expect((await pass([])).answer.headers.get("cache-control")).toBe("no-store");
    expect((await pass(["Cache-Control: private, max-age=5"])).answer.headers.get("cache-control")).toBe(
      "private, max-age=5",
    );
  });

  it("keep what clients need, as often as it came", async () => {
    const kept = ['ETag: "1"', "Location: /made", 'Link: </a>; rel="next"', 'Link: </b>; rel="last"', "Retry-After: 3"];
    const { answer } = await pass([...kept, "Content-Type: application/json"], "{}", "201 Created");
    expect(answer.status).toBe(201);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      etag: '"1"',
      location: "/made",
      link: '</a>; rel="next", </b>; rel="last"',
      "retry-after": "3",
      "content-type": "application/json",
    });
  });

  it("keep the status of a refusal by the upstream, which is told from ours", async () => {
    const { answer } = await pass(["Valetkey-Error: environment_mismatch"], "no", "403 Forbidden");
    expect([answer.status, answer.headers.get("valetkey-error")]).toEqual([403, null]);
  });
});

describe("an answer that streams", () => {
  it("begins for the caller when it begins, before its first byte", async () => {
    await using upstream = await openOddUpstream(raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", ""));
    await using gateway = await openPassingGateway(upstream);
    const answer = await fetch(gateway.url);
    expect([answer.status, upstream.open()]).toEqual([200, 1]);
    await answer.body?.cancel();
  });
});

describe("the root credential in an answer", () => {
  it("is blotted out of body and headers, and the length stays true", async () => {
    const { answer, text } = await pass(["X-Echo: Bearer root-credential!"], "you sent root-credential, thanks");
    expect(answer.headers.get("x-echo")).toBe(`Bearer ${"*".repeat(15)}!`);
    expect([text, answer.headers.get("content-length")]).toEqual([`you sent ${"*".repeat(15)}, thanks`, "32"]);
  });

  it.each(["utf8", "latin1"] as const)("leaves the length true where its characters come as %s", async (encoding) => {
    const secret = Buffer.from("pässwörd-of-the-root");
    // A small answer and a large one, which are passed on in different ways.
    for (const filling of [0, 100_000]) {
      const body = Buffer.concat([Buffer.from(`you sent ${secret.toString()}`, encoding), Buffer.alloc(filling, ".")]);
      await using upstream = await openOddUpstream(({ socket }) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
        socket.write(body);
      });
      await using gateway = await openPassingGateway(upstream, {}, secret);
      // A client reads as much as the length says: what goes beyond it would be the next answer.
      const raw = await readToClose(gateway.port);
      const passed = raw.subarray(raw.indexOf("\r\n\r\n") + 4);
      expect(raw.toString("latin1")).toContain(`content-length: ${body.length}\r\n`);
      expect([passed.length, passed.includes(secret)]).toEqual([body.length, false]);
    }
  });

  it("is not passed on as the name of a header, nor as a reason phrase", async () => {
    const { answer } = await pass(["Root-Credential: 1"], "hello", "200 root-credential");
    expect(JSON.stringify([...answer.headers])).not.toContain("root-credential");
    expect(answer.statusText).toBe("OK");
  });
});

/** Everything that comes until the other side closes, as it was asked to. */
function readToClose(port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () =>
      socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    );
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(Buffer.concat(chunks)));
  });
}
