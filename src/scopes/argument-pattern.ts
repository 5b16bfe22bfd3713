// Patterns over the names that lead to an argument: `patch.services.*.name`, `patch.**.isDeleted`. They are walked along
// with the arguments, name by name, and never compared with a joined path: a name with a dot in it stays one name.

import { isArgumentName } from "./resource-template.ts";

/** `*`: any one name or item of a list. `**`: any number of them, none too. */
export type Step = { readonly name: string } | "*" | "**";

/** Sets of steps as bits, so that one name costs the same whatever the pattern is: callers choose the names. */
export interface CompiledPattern {
  readonly one: number;
  readonly many: number;
  readonly byName: ReadonlyMap<string, number>;
  readonly end: number;
}

/** A pattern on its way: bit i of `used` says that its first i steps can be used up. */
export interface Active<Pattern> {
  readonly pattern: Pattern;
  readonly used: number;
}

/** All places fit into the bits of one number. */
export const MAX_STEPS = 16;

/** Null where it is not well-formed. */
export function parsePattern(text: string): readonly Step[] | null {
  const parts = text.split(".");
  if (parts.length > MAX_STEPS) return null;
  const steps: Step[] = [];
  for (const part of parts) {
    const isRepeated = part === "**" && steps.at(-1) === "**";
    if (isRepeated || (part !== "*" && part !== "**" && !isArgumentName(part))) return null;
    steps.push(part === "*" || part === "**" ? part : { name: part });
  }
  return steps;
}

export function compilePattern(steps: readonly Step[]): CompiledPattern {
  let one = 0;
  let many = 0;
  const byName = new Map<string, number>();
  for (const [index, step] of steps.entries()) {
    const bit = 1 << index;
    if (step === "*") one |= bit;
    else if (step === "**") many |= bit;
    else byName.set(step.name, (byName.get(step.name) ?? 0) | bit);
  }
  return { one, many, byName, end: 1 << steps.length };
}

/** Before the first name. */
export function start<Pattern extends CompiledPattern>(pattern: Pattern): Active<Pattern> {
  return { pattern, used: skip(pattern, 1) };
}

/** One name further in, or with null one item of a list; patterns that cannot match there any more are gone. */
export function advance<Pattern extends CompiledPattern>(
  active: readonly Active<Pattern>[],
  name: string | null,
): readonly Active<Pattern>[] {
  const next: Active<Pattern>[] = [];
  for (const entry of active) {
    const { pattern, used } = entry;
    const named = name === null ? 0 : (pattern.byName.get(name) ?? 0);
    const further = skip(pattern, ((used & (pattern.one | named)) << 1) | (used & pattern.many));
    if (further !== 0) next.push(further === used ? entry : { pattern, used: further });
  }
  return next;
}

/** `**` may take nothing. Never two of them in a row, so that once is enough. */
function skip({ many }: CompiledPattern, used: number): number {
  return used | ((used & many) << 1);
}

/** Whether the names so far are what the pattern matches. */
export function isAtEnd({ pattern, used }: Active<CompiledPattern>): boolean {
  return (used & pattern.end) !== 0;
}
