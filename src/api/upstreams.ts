// The wire contract of systems that take credentials of their own: how each stands, and which credentials had to be dead and
// are not known to be.

import * as z from "zod";
import { GrantIdText, Name, Task, Timestamp } from "./values.ts";

const Kind = z.enum(["postgres", "aws"]);

/** Upstreams of the policy in force for which the broker mints credentials of their own. */
export const UpstreamsAnswer = z.object({
  upstreams: z.array(
    z.object({
      name: Name,
      kind: Kind,
      /** `open`: it has failed again and again, and is left alone for some seconds. */
      circuit: z.enum(["closed", "half-open", "open"]),
      /** What will not work there, or must not; null: nobody has looked yet. */
      faults: z.array(z.string()).nullable(),
      /** How far the broker's own rights reach. */
      notes: z.array(z.string()),
    }),
  ),
  /** Credentials that had to be dead and were not known to be, when all were looked at last. */
  unconfirmed: z.int(),
});
export type UpstreamsAnswer = z.infer<typeof UpstreamsAnswer>;

export const UnconfirmedQuery = z.strictObject({
  /** `next` of the page before. */
  after: GrantIdText.optional(),
});

export const Unconfirmed = z.object({
  credentials: z.array(
    z.object({
      grant: GrantIdText,
      agent: Name,
      task: Task,
      role: Name,
      upstream: Name,
      kind: Kind,
      /** What it is called there, and where that is. */
      handle: z.string(),
      address: z.string(),
      /** A cut-off, or what else has ended its grant; null: it was never handed over. */
      cause: z.string().nullable(),
      /** Null: nobody has tried to end it yet. */
      since: Timestamp.nullable(),
      attempts: z.int(),
      failure: z.string().nullable(),
      nextTryAt: Timestamp,
    }),
  ),
  next: GrantIdText.nullable(),
});
export type Unconfirmed = z.infer<typeof Unconfirmed>;
