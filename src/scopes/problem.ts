// What is wrong with a set of scopes: a file, a place in it, and one line that says what was expected and found.
// Problems are public to whoever may read policy; they never carry key material.

export interface Problem {
  readonly file: string;
  /** From 1; 0 where the file or folder as a whole is meant. */
  readonly line: number;
  readonly column: number;
  /** Lower case: what was expected, what was found, what to do next. */
  readonly message: string;
}

/** Line and column, from 1. */
export type Position = readonly [line: number, column: number];

/** More than a person reads at once; the rest is counted. */
const MAX_PROBLEMS = 100;

/** `scopes/roles.yaml:12:5: expected a duration, found 5`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  return `${place}: ${problem.message}`;
}

/** The first hundred, by file and place, and a line that counts the others. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  const sorted = problems.toSorted(
    (a, b) =>
      compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.message, b.message),
  );
  const omitted = sorted.length - MAX_PROBLEMS;
  const last = sorted[MAX_PROBLEMS];
  if (last === undefined) return sorted;
  const rest = { file: last.file, line: 0, column: 0, message: `${omitted} more problems are not listed` };
  return [...sorted.slice(0, MAX_PROBLEMS), rest];
}

/** By code unit, so that it is the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
