// What IAM's policies mean, for the stand-in of AWS: only what the tests need, and anything else is an error and not a guess.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

interface Statement {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export interface PolicyDocument {
  readonly Version: string;
  readonly Statement: readonly Statement[];
}

/** What a request is made by and on. */
export interface Asked {
  readonly action: string;
  readonly resource: string;
  /** Condition keys and what they are here; times in milliseconds. */
  readonly keys: Readonly<Record<string, string | number>>;
}

/** Null where it is not what IAM takes. */
export function parsePolicy(text: string): PolicyDocument | null {
  let parsed: PolicyDocument;
  try {
    parsed = JSON.parse(text) as PolicyDocument;
  } catch {
    return null;
  }
  const isFit =
    parsed.Version === "2012-10-17" &&
    isList(parsed.Statement) &&
    parsed.Statement.length > 0 &&
    parsed.Statement.every(
      ({ Effect, Action, Resource, Sid = "" }) =>
        (Effect === "Allow" || Effect === "Deny") &&
        listOf(Action).every((action) => /^(?:\*|[a-z0-9-]+:[A-Za-z0-9*]+)$/.test(action)) &&
        listOf(Resource).every((resource) => resource === "*" || resource.startsWith("arn:")) &&
        listOf(Action).length > 0 &&
        listOf(Resource).length > 0 &&
        /^[A-Za-z0-9]*$/.test(Sid),
    );
  return isFit ? parsed : null;
}

/** Whether some statement of this effect is about what is asked. */
export function says(effect: "Allow" | "Deny", { Statement }: PolicyDocument, asked: Asked): boolean {
  return Statement.some(
    ({ Effect, Action, Resource, Condition = {} }) =>
      Effect === effect &&
      listOf(Action).some((pattern) => isLike(pattern.toLowerCase(), asked.action.toLowerCase())) &&
      listOf(Resource).some((pattern) => isLike(pattern, asked.resource)) &&
      Object.entries(Condition).every(([operator, wanted]) =>
        Object.entries(wanted).every(([key, values]) =>
          listOf(values).some((value) => holds(operator, asked.keys[key], value)),
        ),
      ),
  );
}

/** `Array.isArray` makes any of a readonly array's items. */
function isList(value: readonly Statement[] | undefined): boolean {
  return Array.isArray(value);
}

function holds(operator: string, found: string | number | undefined, wanted: string): boolean {
  if (found === undefined) return false;
  switch (operator) {
    case "StringEquals":
      return found === wanted;
    case "StringLike":
      return isLike(wanted, String(found));
    case "DateLessThan":
      return Number(found) < Date.parse(wanted);
    case "DateGreaterThanEquals":
      return Number(found) >= Date.parse(wanted);
    default:
      throw new Error(`the stand-in of AWS does not know the operator ${operator}`);
  }
}

function listOf(value: string | readonly string[]): readonly string[] {
  return [value].flat();
}

function isLike(pattern: string, text: string): boolean {
  const source = pattern.replaceAll(/[.*+?^${}()|[\]\\]/g, (c) => (c === "*" ? ".*" : c === "?" ? "." : `\\${c}`));
  return new RegExp(`^${source}$`, "s").test(text);
}
