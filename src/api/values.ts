// The values that occur all over the wire contract: names, actions, resources, durations, instants, reasons.

import * as z from "zod";
import { parseDurationSeconds } from "../core/duration.ts";
import { ERRORS, type ErrorCode } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import { isAction, isName, isPlainText, isResource } from "../core/names.ts";

const MAX_TASK_LENGTH = 200;
const MAX_REASON_LENGTH = 500;

export const Name = z
  .string()
  .refine(isName, "expected a name: lower-case letters, digits, '.', '_' or '-', at most 64");
export const Action = z.string().refine(isAction, "expected an action like 'volume:read' (no wildcards)");
export const Resource = z
  .string()
  .refine(
    isResource,
    "expected a resource like 'shop:volume/vol_1' (no wildcards, no dot segments, at most 256 characters)",
  );
export const Task = z
  .string()
  .refine((text) => isPlainText(text, MAX_TASK_LENGTH), "expected plain text of 1 to 200 characters on one line");
export const ReasonText = z
  .string()
  .refine((text) => isPlainText(text, MAX_REASON_LENGTH), "expected plain text of 1 to 500 characters on one line");
export const DurationText = z
  .string()
  .refine((text) => parseDurationSeconds(text) !== null, "expected a duration like '90s', '15m' or '48h'");
/** A whole number in a query: digits alone, so that no two spellings mean the same. */
export const QueryNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^(?:0|[1-9]\d{0,14})$/, "expected a whole number in digits")
    .transform(Number)
    .refine((value) => value >= least && value <= most, `expected a number from ${least} to ${most}`);
export const Timestamp = z.iso.datetime({ precision: 3 });

export const GrantIdText = z
  .templateLiteral(["grt_", z.string()])
  .refine((text) => isId("grt", text), "expected a grant id like 'grt_01J…'");
export const RevocationIdText = z
  .templateLiteral(["rev_", z.string()])
  .refine((text) => isId("rev", text), "expected a revocation id like 'rev_01J…'");

const ErrorCodeText = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);

export const Permission = z.strictObject({ action: Action, resource: Resource });
export type Permission = z.infer<typeof Permission>;

export const ReasonBody = z.object({
  code: ErrorCodeText,
  message: z.string(),
  action: z.string().optional(),
  resource: z.string().optional(),
  rule: z.string().optional(),
  labels: z.object({ agent: z.array(z.string()).readonly(), resource: z.array(z.string()).readonly() }).optional(),
});

/** RFC 9457 problem details. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: ErrorCodeText,
  detail: z.string(),
  instance: z.string().optional(),
  reasons: z.array(ReasonBody).readonly(),
});
export type Problem = z.infer<typeof Problem>;
