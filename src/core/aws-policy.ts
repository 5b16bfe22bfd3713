// The policies that the broker writes for AWS, as text: what a session may do until its grant's end. Pure, and one author:
// what a dry run measures and people sign is what is sent.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html

/** AssumeRole, `Policy`: characters in plain text. Session tags count in a packed size that only AWS knows. */
export const MAX_SESSION_POLICY = 2048;

/** What is allowed on what, each by its exact name. */
export interface AwsStatement {
  readonly actions: readonly string[];
  /** ARNs. */
  readonly resources: readonly string[];
}

/**
 * The session policy: these statements, and nothing at all from `endsAt` on (milliseconds; whole seconds count, and the
 * one that has begun does not). A Deny, because it also holds where a resource's own policy lets the session in.
 */
export function sessionPolicy(statements: readonly AwsStatement[], endsAt: number): string {
  const allowed = statements.map(({ actions, resources }) => {
    return { Effect: "Allow", Action: actions, Resource: resources };
  });
  const over = { DateGreaterThanEquals: { "aws:CurrentTime": toAwsTime(endsAt) } };
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [...allowed, { Effect: "Deny", Action: "*", Resource: "*", Condition: over }],
  });
}

/** In UTC, the second that has begun. */
export function toAwsTime(at: number): string {
  return `${new Date(Math.floor(at / 1000) * 1000).toISOString().slice(0, 19)}Z`;
}

/** Each combination once, those of the same actions together: no wider than they are apart. */
export function mergeStatements(statements: readonly AwsStatement[]): readonly AwsStatement[] {
  const byActions = new Map<string, { readonly actions: readonly string[]; readonly resources: Set<string> }>();
  for (const { actions, resources } of statements) {
    const sorted = sortOnce(actions);
    const key = sorted.join(" ");
    const known = byActions.get(key) ?? { actions: sorted, resources: new Set<string>() };
    for (const resource of resources) known.resources.add(resource);
    byActions.set(key, known);
  }
  return [...byActions.keys()].toSorted(compare).flatMap((key) => {
    const one = byActions.get(key);
    return one === undefined ? [] : [{ actions: one.actions, resources: sortOnce([...one.resources]) }];
  });
}

function sortOnce(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].toSorted(compare);
}

/** By code unit: the same on every machine. */
function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
