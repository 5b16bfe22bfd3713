// The inline policy by which the broker ends single sessions of a role: a Deny of everything by `aws:userid`, which ends
// with the session's name, until the session is over anyhow. It is all that is known of who is denied, so that any broker
// can write it anew. Where it has no room any more, the whole role is cut off at a moment. Pure.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html

import { toAwsTime } from "../core/aws-policy.ts";

/** All inline policies of a role together, white space not counted. */
export const MAX_ROLE_POLICIES = 10_240;
/** So many minutes are denied together, and clocks may be so far apart. */
const BUCKET_MS = 15 * 60_000;
const MARGIN_MS = 5 * 60_000;

export interface Denials {
  /** Sessions begun before that are refused, all of them; null: there is no such moment. */
  readonly before: number | null;
  /** Names of sessions, and until when they have to be refused. */
  readonly names: ReadonlyMap<string, number>;
}

export const NO_DENIALS: Denials = Object.freeze({ before: null, names: new Map() });

const SESSION_NAME = /^[\w+=,.@-]{2,64}$/;

export function withDenied(denials: Denials, name: string, until: number): Denials {
  const rounded = Math.ceil((until + MARGIN_MS) / BUCKET_MS) * BUCKET_MS;
  return { ...denials, names: new Map([...denials.names, [name, Math.max(rounded, denials.names.get(name) ?? 0)]]) };
}

export function isEmpty({ before, names }: Denials): boolean {
  return before === null && names.size === 0;
}

/** What either denies. */
export function merge(one: Denials, other: Denials): Denials {
  const names = new Map(one.names);
  for (const [name, until] of other.names) names.set(name, Math.max(until, names.get(name) ?? 0));
  const moments = [one.before, other.before].filter((before) => before !== null);
  return { before: moments.length === 0 ? null : Math.max(...moments), names };
}

/** Without what is over by itself: sessions last `longestMs` at most. */
export function compact({ before, names }: Denials, now: number, longestMs: number): Denials {
  return {
    before: before !== null && now < before + longestMs + MARGIN_MS ? before : null,
    names: new Map([...names].filter(([, until]) => now < until)),
  };
}

/** With one statement at least: IAM takes no policy without. */
export function printDenials({ before, names }: Denials): string {
  const deny = { Effect: "Deny", Action: "*", Resource: "*" };
  const byEnd = Map.groupBy(names, ([, until]) => until);
  const statements: object[] = [...byEnd].map(([until, entries]) => {
    const ids = entries.map(([name]) => `*:${name}`);
    return { Sid: `Until${plain(until)}`, ...deny, Condition: { StringLike: { "aws:userid": ids } } };
  });
  if (before !== null) {
    const condition = { DateLessThan: { "aws:TokenIssueTime": toAwsTime(before) } };
    statements.push({ Sid: `Before${plain(before)}`, ...deny, Condition: condition });
  }
  return JSON.stringify({ Version: "2012-10-17", Statement: statements });
}

/**
 * What `printDenials` wrote. Null where it is something else: whoever changed it meant it, and it is written anew without
 * what cannot be read.
 */
export function parseDenials(text: string): Denials | null {
  const statements = statementsOf(text);
  if (statements === null) return null;
  let before: number | null = null;
  const names = new Map<string, number>();
  for (const { Sid, Condition } of statements) {
    const [, what, time = ""] = /^(Until|Before)(\d{8}T\d{6})Z$/.exec(typeof Sid === "string" ? Sid : "") ?? [];
    const at = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3T$4:$5:$6Z"));
    if (what === undefined || Number.isNaN(at)) return null;
    if (what === "Before") {
      before = Math.max(at, before ?? 0);
      continue;
    }
    for (const id of userIdsOf(Condition)) {
      const name = id.startsWith("*:") ? id.slice(2) : "";
      if (!SESSION_NAME.test(name)) return null;
      names.set(name, Math.max(at, names.get(name) ?? 0));
    }
  }
  return { before, names };
}

function statementsOf(text: string): readonly Readonly<Record<string, unknown>>[] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  const list = isRecord(parsed) ? parsed["Statement"] : null;
  return Array.isArray(list) && list.every(isRecord) ? list : null;
}

/** IAM may give back a list of one as its item. */
function userIdsOf(condition: unknown): readonly string[] {
  const like = isRecord(condition) ? condition["StringLike"] : null;
  const ids = isRecord(like) ? like["aws:userid"] : null;
  return [ids].flat().filter((id) => typeof id === "string");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As a statement's id may be written: letters and digits. */
function plain(at: number): string {
  return toAwsTime(at).replaceAll(/[-:]/g, "");
}
