// The grammar of every name that crosses a boundary: principals, roles, labels, actions, resources, tasks.
// Closed alphabets, bounded lengths, no dot segments, no wildcards: what passes here needs no escaping anywhere.

/** Agents, people, services, roles, upstreams, environments, teams, label names. */
const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
/** Label values: as names, upper case too. */
const LABEL_VALUE = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;
const ACTION = /^[a-z][a-z0-9-]{0,31}:[a-z][a-z0-9-]{0,31}$/;
const SEGMENT = /^[A-Za-z0-9._~@+=-]{1,128}$/;
const MAX_RESOURCE_LENGTH = 256;
const MAX_SEGMENTS = 16;
const MAX_TASK_LENGTH = 200;
const UNSEEN = /[\p{C}[\p{Z}--\x20]\u2800[\p{Default_Ignorable_Code_Point}--\uFE0F]]/v;

export function isName(text: string): boolean {
  return NAME.test(text);
}

export function isLabelValue(text: string): boolean {
  return LABEL_VALUE.test(text);
}

/** `noun:verb`. */
export function isAction(text: string): boolean {
  return ACTION.test(text);
}

/** A role or database of PostgreSQL's: longer names would be cut, and so become another's (its manual, section 4.1.1). */
export function isPostgresName(text: string): boolean {
  return text !== "" && text.isWellFormed() && new TextEncoder().encode(text).length <= 63 && !/\p{Cc}/u.test(text);
}

/** `upstream:path`, each path segment plain and none of them `.` or `..`. */
export function isResource(text: string): boolean {
  if (text.length > MAX_RESOURCE_LENGTH) return false;
  const colon = text.indexOf(":");
  if (colon < 1 || !NAME.test(text.slice(0, colon))) return false;
  const segments = text.slice(colon + 1).split("/");
  return segments.length <= MAX_SEGMENTS && segments.every((s) => SEGMENT.test(s) && s !== "." && s !== "..");
}

/** The upstream of a well-formed resource: what stands before the colon. */
export function upstreamOf(resource: string): string {
  return resource.slice(0, resource.indexOf(":"));
}

/** The built-in label `type` of a well-formed resource: its first path segment. */
export function typeOf(resource: string): string {
  const start = resource.indexOf(":") + 1;
  const slash = resource.indexOf("/", start);
  return slash < 0 ? resource.slice(start) : resource.slice(start, slash);
}

/**
 * Free text that people will read on a screen or in a record: a task, a reason.
 * Control, formatting, bidirectional, private and unassigned characters are refused, letters that show nothing (Hangul
 * fillers and the like; emoji may choose their form with U+FE0F), spaces other than U+0020, and space at either end; what
 * is not in normal form C too: who revokes a task types what is seen.
 */
export function isPlainText(text: string, maxLength: number = MAX_TASK_LENGTH): boolean {
  return (
    text.length > 0 &&
    text.length <= maxLength &&
    text.isWellFormed() &&
    !UNSEEN.test(text) &&
    text.trim() === text &&
    text.normalize("NFC") === text
  );
}
