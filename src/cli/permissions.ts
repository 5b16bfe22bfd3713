// Permissions, labels and reasons between the command line, the wire and the screen. Pure.

import type { z } from "zod";
import { isAction, isResource } from "../core/names.ts";
import type { RefusalReason } from "../sdk/errors.ts";
import type { Permission } from "../api/values.ts";
import { wrongUse } from "./failure.ts";
import { type Piece, styled } from "./terminal.ts";

/** A reason as an answer, an error of the SDK or a local decision has it. */
export type ShownReason = { readonly [Field in keyof RefusalReason]: RefusalReason[Field] | undefined } & Pick<
  RefusalReason,
  "code" | "message"
>;

/** `ACTION RESOURCE [ACTION RESOURCE …]`. Throws CommandFailure (exit 2) naming the word that does not fit. */
export function parsePermissions(words: readonly string[]): Permission[] {
  if (words.length === 0 || words.length % 2 !== 0) {
    throw wrongUse("expected pairs of an action and a resource, such as: domain:write shop-staging:service/web");
  }
  const permissions: Permission[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const [action = "", resource = ""] = words.slice(i, i + 2);
    if (!isAction(action))
      throw wrongUse(`'${action}' is not an action; expected one like volume:read, without wildcards`);
    if (!isResource(resource)) {
      throw wrongUse(
        `'${resource}' is not a resource; expected one like shop-staging:service/web, without wildcards or dot segments`,
      );
    }
    permissions.push({ action, resource });
  }
  return permissions;
}

/** Parses what goes on the wire, so that a mistake is explained here and not by the broker. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".") || "request"}: ${issue.message}`);
  throw wrongUse(problems.join("\n"));
}

/** One line a permission, for a cell of a table. */
export function showPermissions(permissions: readonly Permission[]): string {
  return permissions.map(({ action, resource }) => `${action} ${resource}`).join("\n");
}

/** Each reason with what it is about, the labels that differ and the rule that would have to change. */
export function formatReasons(reasons: readonly ShownReason[]): string[] {
  return reasons.flatMap((reason) => [
    `  ${reason.code}: ${reason.message}`,
    ...reasonFacts(reason).map(([name, value]) => `    ${name} ${value}`),
  ]);
}

function reasonFacts(reason: ShownReason): [string, string][] {
  const facts: [string, string][] = [];
  const about = [reason.action, reason.resource].filter((part) => part !== undefined).join(" ");
  if (about !== "") facts.push(["asked:", about]);
  if (reason.labels !== undefined) facts.push(["labels:", showLabels(reason.labels)]);
  if (reason.rule !== undefined) facts.push(["rule:", reason.rule]);
  return facts;
}

/** `agent staging, resource production`. */
export function showLabels(labels: {
  readonly agent: readonly string[];
  readonly resource: readonly string[];
}): string {
  return `agent ${joinValues(labels.agent)}, resource ${joinValues(labels.resource)}`;
}

function joinValues(values: readonly string[]): string {
  return values.length === 0 ? "none" : values.join("+");
}

/** Green for what is alive or allowed, red for what is not. */
export function showState(state: string, good: boolean): Piece {
  return styled(good ? "green" : "red", state);
}
