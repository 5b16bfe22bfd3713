// A follower of the feed with a slow line: a large snapshot reaches it whole, and what comes after. Real sockets and Express; the store is a list in memory, so that it can hold a very long one.

import { once } from "node:events";
import { connect, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { afterEach, describe, expect, it } from "vitest";
import { makeId } from "../../src/core/ids.ts";
import { openStream } from "../../src/http/stream.ts";
import { createFeed, type Feed } from "../../src/revocation/feed.ts";
import type { RevocationPort, StoredCutOff } from "../../src/revocation/revocation-port.ts";

const CUT_OFFS = 20_000;
function makeCutOff(i: number): StoredCutOff {
  const id = makeId("rev", 1000 + i, String(i).padStart(16, "0"));
  const target = { task: `a task with a rather long name, as tasks are, number ${i}` };
  return { id, number: i + 1, target, before: 1000 + i, reason: "r", by: "p", keptUntil: 9e12, closed: true };
}
const cutOffs = Array.from({ length: CUT_OFFS }, (_, i) => makeCutOff(i));
const unused = () => Promise.reject(new Error("the feed does not use this"));
const port: RevocationPort = {
  cutOff: unused,
  freeze: unused,
  unfreeze: unused,
  reopen: unused,
  findCutOff: unused,
  countMet: unused,
  countCancelled: unused,
  liveShapes: unused,
  activatePolicy: unused,
  markSwept: unused,
  policyInForce: unused,
  snapshot: () => Promise.resolve({ number: CUT_OFFS, cutOffs, frozen: [], retiredKeys: [] }),
};

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

/** Opens the stream on a raw socket that reads nothing until it is told to. */
async function follow(): Promise<{ socket: Socket; feed: Feed }> {
  const sign = (_type: string, claims: object) => Promise.resolve(JSON.stringify(claims));
  const feed = await createFeed({ port, issuer: "i", at: () => 2000, sign });
  const app = express();
  app.get("/", (_req, res) => {
    openStream(res, { kind: "Service", name: "v", keys: [] }, feed).catch(() => res.destroy());
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  // An http server that listens on a port has an address with a port.
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.pause();
  undo.push(
    () => feed.close(),
    () => socket.destroy(),
    () => server.close(),
  );
  await once(socket, "connect");
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  return { socket, feed };
}

describe("a follower with a slow line", () => {
  it("gets a snapshot of several megabytes whole, and what comes after it", async () => {
    const { socket, feed } = await follow();
    await sleep(200);
    const late: StoredCutOff = { ...makeCutOff(0), id: makeId("rev", 5000, "Z".repeat(16)), number: CUT_OFFS + 1 };
    feed.publish({ kind: "cut_off", cutOff: late });
    await sleep(200);
    let bytes = 0;
    let tail = "";
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      tail = (tail + chunk.toString()).slice(-4000);
    });
    socket.resume();
    await expect.poll(() => tail.includes(late.id), { timeout: 10_000 }).toBe(true);
    expect(bytes).toBeGreaterThan(2 * 1024 * 1024);
  });
});
