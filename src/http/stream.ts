// The feed over server-sent events: each message is one signed JWS. A follower that does not keep up is dropped and
// starts again with a snapshot; nothing is buffered without bound.

import type { Response } from "express";
import type { Feed, Subscriber } from "../revocation/feed.ts";

const MAX_BUFFERED_BYTES = 1_048_576;

/** Resolves once the snapshot was sent; the connection stays open until either side ends it. */
export async function openStream(response: Response, principal: string, feed: Feed): Promise<void> {
  const subscriber: Subscriber = {
    principal,
    send: (kind, jws) => {
      if (response.destroyed) return false;
      // The first message, the snapshot, carries the headers: a refusal before it is still an ordinary answer.
      if (!response.headersSent) {
        response
          .status(200)
          .set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no" });
      }
      response.write(`event: ${kind}\ndata: ${jws}\n\n`);
      return response.writableLength <= MAX_BUFFERED_BYTES;
    },
    close: () => response.destroy(),
  };
  const leave = await feed.subscribe(subscriber);
  response.on("close", leave);
  if (response.destroyed) leave();
}
