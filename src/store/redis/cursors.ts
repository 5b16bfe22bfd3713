// How far into the record each receiver has been told, in Redis. A cursor is only kept: no script reads it.

import type { WebhookCursor, WebhookPort } from "../../webhooks/webhook-port.ts";
import { toDraft } from "./record.ts";
import { unknownReply } from "./replies.ts";
import type { Client, Scripts } from "./scripts.ts";

export function createWebhookPort(client: Client, scripts: Scripts, base: string): WebhookPort {
  return {
    webhookCursors: async () => {
      const rows = await client.hgetall(`${base}cursors`);
      // Written by `moveCursor`.
      const cursors = Object.values(rows).map((text) => JSON.parse(text) as WebhookCursor);
      return cursors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    moveCursor: async ({ at, cursor: { name, seq, attempts, nextAt }, event }) => {
      const text = JSON.stringify({ name, seq, attempts, nextAt });
      const command = { at, name, text, event: event === null ? null : toDraft(event) };
      const reply = await scripts.run("move_cursor", command);
      if (reply[0] !== "moved") throw unknownReply(reply);
    },
  };
}
