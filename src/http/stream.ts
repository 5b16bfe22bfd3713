// The feed over server-sent events: each message is one signed JWS. A follower that does not keep up is dropped and
// starts again with a snapshot; nothing is buffered without bound.

import type { Response } from "express";
import type { Feed, Subscriber } from "../revocation/feed.ts";
import type { AnyPrincipal } from "../scopes/scope-set.ts";

/** What may wait behind the snapshot: the snapshot itself is as large as the list of cut-offs. */
const MAX_BUFFERED_BYTES = 1_048_576;
/** For a snapshot to be taken in. */
const SNAPSHOT_TIMEOUT_MS = 30_000;

/** Resolves once the snapshot was sent; the connection stays open until either side ends it. */
export async function openStream(response: Response, principal: AnyPrincipal, feed: Feed): Promise<void> {
  let draining = 0;
  const subscriber: Subscriber = {
    principal,
    send: (kind, jws) => {
      if (response.destroyed) return false;
      const text = `event: ${kind}\ndata: ${jws}\n\n`;
      // The first message, the snapshot, carries the headers: a refusal before it is still an ordinary answer.
      if (!response.headersSent) {
        const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no" };
        response.status(200).set(headers);
        draining = Buffer.byteLength(text);
        const timer = setTimeout(() => response.destroy(), SNAPSHOT_TIMEOUT_MS);
        response.once("close", () => clearTimeout(timer));
        response.write(text, () => {
          draining = 0;
          clearTimeout(timer);
        });
        return true;
      }
      response.write(text);
      return response.writableLength <= MAX_BUFFERED_BYTES + draining;
    },
    close: () => response.destroy(),
  };
  const leave = await feed.subscribe(subscriber);
  response.on("close", leave);
  if (response.destroyed) leave();
}
