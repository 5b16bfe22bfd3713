// Receivers that do what they should not: each costs no more than its time, none is followed anywhere, and none learns
// more than the message.

import { describe, expect, it } from "vitest";
import {
  type Behaviour,
  huge,
  openOddUpstream,
  PATIENCE,
  plain,
  raw,
  resets,
  resetsMidway,
  stopsMidway,
} from "../support/odd-upstream.ts";
import { openWebhookReceiver, SIGNING_SECRET, status } from "../support/webhook-receiver.ts";
import { openStage, type Stage, webhookTo } from "../support/webhook-stage.ts";

async function told(url: string, { timeoutMs = 5000, addresses = ["127.0.0.1/32"] } = {}): Promise<Stage> {
  const stage = await openStage([webhookTo(url, { addresses })], { timeoutMs });
  stage.start();
  await expect.poll(() => stage.cursor(), PATIENCE).toBeDefined();
  await stage.record("hold.created", { hold: "hld_1", agent: "coder" });
  return stage;
}

async function settled(stage: Stage): Promise<void> {
  const isSettled = async (): Promise<boolean> => {
    const cursor = await stage.cursor();
    return cursor?.attempts !== 0 || cursor.seq !== 0;
  };
  await expect.poll(isSettled, PATIENCE).toBe(true);
}

/** `head`, then `part` again and again. */
function drips(head: string, part: string, everyMs: number): Behaviour {
  return ({ socket }) => {
    socket.write(head);
    const timer = setInterval(() => socket.write(part), everyMs);
    socket.on("close", () => clearInterval(timer));
  };
}

describe("a receiver that fails is tried again later", () => {
  const LATE = "it did not answer within 0.2 s";
  it.each<[string, Behaviour, string]>([
    ["never answers", () => undefined, LATE],
    ["answers with half a head", raw("HTTP/1.1 204 No Con"), LATE],
    ["sends informational answers for ever", drips("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5), LATE],
    ["resets the connection", resets, "the connection ended before its answer was whole"],
    ["sends a head of a megabyte", raw("HTTP/1.1 200 OK", `A: ${"a".repeat(1_000_000)}`, "", ""), "larger than 32 KB"],
    ["does not speak HTTP", raw("220 mail.example ESMTP", ""), "not valid HTTP"],
    ["changes the protocol", raw("HTTP/1.1 101 Switching Protocols", "Upgrade: a", "", ""), "it answered 101"],
  ])("when it %s", async (_what, behave, cause) => {
    await using upstream = await openOddUpstream(behave);
    await using stage = await told(`${upstream.origin}/`, { timeoutMs: cause === LATE ? 200 : 5000 });
    await settled(stage);
    expect(await stage.cursor()).toMatchObject({ seq: 0, attempts: 1 });
    expect(stage.logs).toEqual([expect.stringContaining(cause)]);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });
});

describe("a receiver that says yes has taken the message, however it says it", () => {
  it.each<[string, Behaviour]>([
    ["a body that breaks off", resetsMidway],
    ["a body without an end", huge(1e12, () => undefined, false)],
    ["a body that stops midway", stopsMidway],
    ["a body that drips", drips("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 100)],
    ["a compressed body", plain("abc", ["Content-Encoding: gzip"])],
    ["a body that ends with the connection", ({ socket }) => void socket.end("HTTP/1.0 200 OK\r\n\r\nok")],
  ])("with %s", async (_what, behave) => {
    await using upstream = await openOddUpstream(behave);
    await using stage = await told(`${upstream.origin}/`, { timeoutMs: 2000 });
    await settled(stage);
    expect(await stage.cursor()).toMatchObject({ seq: 1, attempts: 0 });
    expect(upstream.requests).toEqual(["POST /"]);
    await expect.poll(() => upstream.open(), PATIENCE).toBeLessThanOrEqual(1);
  });

  it("and no more than a little of a body without an end is taken in", async () => {
    let sent = 0;
    await using upstream = await openOddUpstream(huge(1e12, (bytes) => (sent += bytes), false));
    await using stage = await told(`${upstream.origin}/`);
    await settled(stage);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
    // What the sockets of both sides buffer.
    expect(sent).toBeLessThan(20_000_000);
  });
});

describe("a receiver cannot send the message elsewhere", () => {
  it.each([301, 302, 303, 307, 308])("by a redirect with %i", async (code) => {
    await using other = await openWebhookReceiver();
    await using receiver = await openWebhookReceiver();
    receiver.answer(status(code, { location: other.url }));
    await using stage = await told(receiver.url);
    await settled(stage);
    expect(await stage.cursor()).toMatchObject({ seq: 0, attempts: 1 });
    expect(other.messages).toEqual([]);
  });

  it.each(["http://127.0.0.1", "http://localhost", "http://[::1]", "http://169.254.169.254", "http://10.0.0.1"])(
    "by an address that its settings do not name: %s",
    async (host) => {
      await using receiver = await openWebhookReceiver();
      const { port } = new URL(receiver.origin);
      await using stage = await told(`${host}:${port}/`, { addresses: ["192.168.7.0/24"] });
      await settled(stage);
      expect(await stage.cursor()).toMatchObject({ seq: 0, attempts: 1 });
      expect(stage.logs).toEqual([expect.stringContaining("private or special address")]);
      expect(receiver.messages).toEqual([]);
    },
  );
});

describe("a receiver's own secrets stay out of logs and record", () => {
  it("its URL's path, its answer and its signing secret are in neither", async () => {
    await using receiver = await openWebhookReceiver();
    receiver.answer((response) => void response.writeHead(500, { "x-told": "marker-1" }).end("marker-2"));
    await using stage = await told(receiver.url.replace("/hooks/a", "/hooks/marker-3"));
    await settled(stage);
    stage.advance(73 * 3_600_000);
    const all = async () => JSON.stringify([stage.logs, await stage.entries()]);
    await expect.poll(all, PATIENCE).toContain("webhook.dropped");
    expect(await all()).not.toMatch(/marker-|whsec_/);
    expect(await all()).not.toContain(SIGNING_SECRET.slice(6, 20));
    expect(JSON.stringify(receiver.messages.map(({ body, headers }) => [body, headers]))).not.toContain("whsec_");
  });
});
