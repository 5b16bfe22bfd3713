// What of an entry may leave in a message: the fields named here, in the forms named here, and nothing else. A field that
// the record gains later stays at home until somebody adds it. Never the signed document, a signature, a key, a statement.

/** Sizes in characters, and how many of a list: a message is to be read by people. */
const MAX_NAME = 256;
const MAX_TEXT = 500;
const MAX_PERMISSIONS = 20;
const MAX_ENVIRONMENTS = 8;
const MAX_REASONS = 5;
const MAX_NAMES = 20;

/** `undefined`: not of that form, and left out. `most`: of lists, however many more would be allowed. */
type Form = (value: unknown, most: number) => unknown;

const text =
  (max: number): Form =>
  (value) =>
    typeof value === "string" ? cut(value, max) : value === null ? null : undefined;
const name = text(MAX_NAME);
const sentence = text(MAX_TEXT);
const whole: Form = (value) => (Number.isSafeInteger(value) || value === null ? value : undefined);
const listOf =
  (max: number, form: Form): Form =>
  (value, most) =>
    Array.isArray(value)
      ? value
          .slice(0, Math.min(max, most))
          .map((item) => form(item, most))
          .filter((item) => item !== undefined)
      : undefined;
const membersOf =
  (forms: Readonly<Record<string, Form>>): Form =>
  (value, most) =>
    typeof value === "object" && value !== null && !Array.isArray(value) ? pick(value, forms, most) : undefined;

const TARGET: Readonly<Record<string, Form>> = {
  grant: name,
  agent: name,
  task: name,
  role: name,
  environment: name,
  upstream: name,
  everything: (value) => (value === true ? true : undefined),
};
const PERMISSION: Readonly<Record<string, Form>> = {
  action: name,
  resource: name,
  environments: listOf(MAX_ENVIRONMENTS, name),
};
const REASON: Readonly<Record<string, Form>> = { code: name, message: sentence };

/** `docs/webhooks.md` lists them; a test holds the two together. */
export const SENT_FIELDS: Readonly<Record<string, Form>> = {
  id: name,
  seq: whole,
  agent: name,
  owner: name,
  task: name,
  role: name,
  upstream: name,
  grant: name,
  hold: name,
  kind: name,
  operation: sentence,
  permissions: listOf(MAX_PERMISSIONS, membersOf(PERMISSION)),
  permissionsOmitted: whole,
  person: name,
  by: name,
  reason: sentence,
  reasons: listOf(MAX_REASONS, membersOf(REASON)),
  reasonsOmitted: whole,
  outcome: name,
  status: whole,
  cause: sentence,
  changed: listOf(MAX_NAMES, name),
  approvals: listOf(MAX_NAMES, name),
  revocation: name,
  target: membersOf(TARGET),
  handle: name,
  why: sentence,
  canary: name,
  where: name,
  attestation: name,
  resource: name,
  takenAt: name,
  problems: listOf(MAX_REASONS, sentence),
  policy: name,
  previousPolicy: name,
  request: name,
};

/** With at most so many items in each list; how many permissions and reasons were left out is said. */
export function selectData(
  fields: Readonly<Record<string, unknown>>,
  most: number = MAX_PERMISSIONS,
): Readonly<Record<string, unknown>> {
  const data = pick(fields, SENT_FIELDS, most);
  return { ...data, ...countOmitted(fields, data, "permissions"), ...countOmitted(fields, data, "reasons") };
}

function countOmitted(
  fields: Readonly<Record<string, unknown>>,
  data: Readonly<Record<string, unknown>>,
  list: "permissions" | "reasons",
): Readonly<Record<string, number>> {
  const [all, shown, before] = [fields[list], data[list], data[`${list}Omitted`]];
  if (!Array.isArray(all) || !Array.isArray(shown)) return {};
  const omitted = all.length - shown.length + (typeof before === "number" ? before : 0);
  return omitted > 0 ? { [`${list}Omitted`]: omitted } : {};
}

function pick(from: object, forms: Readonly<Record<string, Form>>, most: number): Readonly<Record<string, unknown>> {
  const members = new Map(Object.entries(from));
  const picked: [string, unknown][] = [];
  for (const [key, form] of Object.entries(forms)) {
    const value = members.has(key) ? form(members.get(key), most) : undefined;
    if (value !== undefined) picked.push([key, value]);
  }
  return Object.fromEntries(picked);
}

function cut(value: string, max: number): string {
  return value.length <= max ? value : `${value.slice(0, max - 1).toWellFormed()}…`;
}
