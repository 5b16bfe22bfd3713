// What a permission may require before it is given, as it is written and as it is compiled. Whatever could be read as
// "nothing is required", or could never be met, is a load error.

import * as z from "zod";
import { DurationText, Name } from "../api/values.ts";
import type { Requirements } from "../core/hold-document.ts";
import { DAYS, findHoursFault, normalizeHours } from "../core/hours.ts";
import { durationUpTo, secondsOf } from "./bounded-duration.ts";
import { strictObject } from "./strict-object.ts";

const MAX_TEAMS = 64;
const MAX_APPROVALS = 20;
const MAX_PLACES = 32;
const DEFAULT_EXPIRE = "7d";

const Approvals = strictObject({
  count: z.int().min(1).max(MAX_APPROVALS).describe("so many people, each counted once"),
  from: z.array(Name).min(1).max(MAX_TEAMS).describe("teams whose people may approve"),
  perTeam: z.boolean().default(false).describe("each of the teams must have signed; one person stands for one team"),
}).refine(({ count, from, perTeam }) => !perTeam || count >= new Set(from).size, {
  path: ["count"],
  message: "expected a count that is at least the number of teams: with perTeam each of them signs",
});

const EXPECTED_DAYS = `expected days of ${DAYS.join(", ")}, such as [mon, fri]`;

const Window = strictObject({
  days: z
    .array(z.enum(DAYS, EXPECTED_DAYS), EXPECTED_DAYS)
    .max(DAYS.length)
    .default([...DAYS]),
  from: z.string("expected a time like '09:00'"),
  to: z
    .string("expected a time like '17:00', at most '24:00'")
    .describe("before `from`: over midnight, and the day is that of the start"),
  zone: z.string("expected an IANA name like 'Europe/Berlin'").describe("an IANA name like Europe/Berlin"),
}).superRefine((hours, context) => {
  const fault = findHoursFault(hours);
  if (fault !== null) context.addIssue({ code: "custom", message: fault });
});

export const Requires = strictObject({
  approvals: Approvals.optional(),
  delay: durationUpTo("90d")
    .optional()
    .describe("from the last approval that is needed; until then it can be cancelled"),
  backup: strictObject({
    maxAge: DurationText,
    separateFrom: z
      .array(Name)
      .min(1)
      .max(MAX_PLACES)
      .describe("labels of the resource from which the backup's location must differ"),
    restoreTested: z.boolean().default(false),
  }).optional(),
  reason: z.literal(true).optional(),
  window: Window.optional().describe("local hours in which it may happen"),
  expire: durationUpTo("30d")
    .optional()
    .describe(`given up so long after it could first have happened: ${DEFAULT_EXPIRE} unless stated`),
}).refine(
  (requires) => Object.entries(requires).some(([key, value]) => key !== "expire" && value !== undefined),
  "expected approvals, delay, backup, reason or window, found none: leave `requires` out where nothing is required",
);
type RequiresDocument = z.infer<typeof Requires>;

export function toRequirements(document: RequiresDocument): Requirements {
  const { approvals, delay, backup, reason, window, expire = DEFAULT_EXPIRE } = document;
  return Object.freeze({
    approvals:
      approvals === undefined
        ? null
        : Object.freeze({ ...approvals, from: Object.freeze([...new Set(approvals.from)]) }),
    delaySeconds: delay === undefined ? null : secondsOf(delay),
    backup:
      backup === undefined
        ? null
        : Object.freeze({
            maxAgeSeconds: secondsOf(backup.maxAge),
            separateFrom: Object.freeze([...new Set(backup.separateFrom)]),
            restoreTested: backup.restoreTested,
          }),
    reason: reason === true,
    window: window === undefined ? null : toHours(window),
    expireSeconds: secondsOf(expire),
  });
}

function toHours(window: z.infer<typeof Window>): Requirements["window"] {
  const hours = normalizeHours(window);
  return Object.freeze({ ...hours, days: Object.freeze([...hours.days]) });
}
