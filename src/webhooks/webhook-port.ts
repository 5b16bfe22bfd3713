// What the webhooks room needs of a store: how far into the record each receiver has been told. The record itself is
// the queue, so what is to be told is durable with what happened.

import type { Instant } from "../core/clock.ts";
import type { LeafDraft } from "../core/leaf.ts";

export interface WebhookCursor {
  readonly name: string;
  /** The last entry that it was told of, or that was none of its business. */
  readonly seq: number;
  /** Tries of the entry after it. */
  readonly attempts: number;
  /** No try before this instant. */
  readonly nextAt: Instant;
}

export interface WebhookPort {
  /** Of every receiver that was ever told something; never waits for a write. */
  webhookCursors(): Promise<readonly WebhookCursor[]>;
  /** Makes or replaces the cursor of its name, durably, with `event` when one is given. Never refused for the clock. */
  moveCursor(command: {
    readonly at: Instant;
    readonly cursor: WebhookCursor;
    readonly event: LeafDraft | null;
  }): Promise<void>;
}
