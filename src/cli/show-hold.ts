// A request that waits, as a person reads it before they sign: what, where, who, why, what it demands, and what the broker
// knows beside it. What is signed comes from the document alone. Nothing is left out and nothing is shortened. Pure.

import type { Hold, HoldAnswer } from "../api/holds.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { type Demand, type HeldSubject, type HoldDocument, type Requirements } from "../core/hold-document.ts";
import { isLabelValue } from "../core/names.ts";
import { digestShown } from "./check-hold.ts";
import { fold, foldExact, showExact, showProse } from "./exact-text.ts";

type Fact = readonly [name: string, value: string];
type Call = Extract<HeldSubject, { readonly kind: "call" }>;
type HeldGrant = Extract<HeldSubject, { readonly kind: "grant" }>;

const NAME_COLUMNS = 13;
const MARGIN = "  ";
/** Of the lines of a body, and of a line that continues the one above. */
const BAR = "  | ";
const CONTINUED = "  + ";
/** More than this and a line is hard to read. */
const MAX_COLUMNS = 160;
const MIN_COLUMNS = 60;

/** Lines without line ends, none wider than `columns`. Whether it is what would be signed is for `check-hold.ts`. */
export function showHold(answer: HoldAnswer, now: Instant, columns: number): readonly string[] {
  const { document, body } = answer;
  const width = Math.min(Math.max(columns, MIN_COLUMNS), MAX_COLUMNS);
  const facts = (rows: readonly Fact[]): readonly string[] => rows.flatMap((row) => layFact(row, width));
  const { subject } = document;
  return [
    `what is asked: hold ${showExact(document.hold)}`,
    ...(subject.kind === "call" ? facts(callFacts(subject)) : facts(grantFacts(subject))),
    ...(body === null ? [] : showBody(body, width)),
    ...facts(whereFacts(document)),
    ...facts(whoFacts(document)),
    ...facts(document.demands.flatMap((demand) => demandFacts(demand, document.demands))),
    ...facts([["digest", digestShown(document) ?? "none: it has no canonical form"]]),
    "",
    "what the broker says beside it, which is not signed:",
    ...facts(standingFacts(answer.hold, now)),
    ...facts(policyFacts(answer)),
    ...facts(backupFacts(answer, now)),
    ...facts(otherFacts(answer.others)),
  ];
}

function callFacts(call: Call): readonly Fact[] {
  const { operation, method, origin, path, query, headers, body, rootCredential, idempotent } = call;
  return [
    ["what", showExact(operation)],
    ["sends", showExact(`${method} ${origin}${path}${query === null ? "" : `?${query}`}`)],
    ...headers.map(([name, value]): Fact => ["header", showExact(`${name}: ${value}`)]),
    ["with", `the root credential ${showExact(rootCredential)}`],
    ["body", body === null ? "none" : `${body.bytes} bytes, SHA-256 ${showExact(body.sha256)}`],
    ...(idempotent
      ? [["sent", "again after each crash of the broker, until an answer is known: it is declared idempotent"] as const]
      : []),
  ];
}

function grantFacts(held: HeldGrant): readonly Fact[] {
  const { credential, ttlSeconds, credentialTtlSeconds, crossingFrom, providerPolicy } = held;
  // A credential of another system's lives as long as its grant.
  const each = formatDuration(providerPolicy === null ? credentialTtlSeconds : ttlSeconds);
  const crossing: Fact[] =
    crossingFrom === null ? [] : [["crosses", `out of ${crossingFrom.map(showExact).join(", ")}`]];
  return [
    ["what", `a grant for ${formatDuration(ttlSeconds)}, each ${credential} of it for ${each}`],
    ["", "while it lives, what it allows is done as often as its agent likes, and nobody is asked again"],
    ...(providerPolicy === null ? [] : policyOfProvider(providerPolicy)),
    ...crossing,
  ];
}

/** All of it: who signs recomputes the digest from what is shown. */
function policyOfProvider(policy: NonNullable<HeldGrant["providerPolicy"]>): readonly Fact[] {
  if (policy.kind === "aws") {
    return [
      ["there", `sessions of ${showExact(policy.address)}, region ${showExact(policy.region)}`],
      ...policy.statements.flatMap(({ actions, resources }): Fact[] => [
        ...actions.map((action, i): Fact => [i === 0 ? "may" : "", showExact(action)]),
        ...resources.map((resource, i): Fact => [i === 0 ? "on" : "", showExact(resource)]),
      ]),
    ];
  }
  const { kind, address, roles, owner, connections, statementTimeoutMs } = policy;
  return [
    ["there", `a ${kind} login at ${showExact(address)}`],
    ...roles.map((role): Fact => ["member of", showExact(role)]),
    ["owns", owner === null ? "what it creates, until it ends" : `nothing: it acts as ${showExact(owner)}`],
    ["at a time", `${connections} connections, statements of ${statementTimeoutMs} ms unless it says otherwise`],
  ];
}

/** Exactly what is sent; then each GraphQL document in it once more, line by line. */
function showBody(body: string, width: number): readonly string[] {
  const room = width - BAR.length;
  const foreign = body.match(/\P{ASCII}/gu)?.length ?? 0;
  const lines = foldExact(body, room).map((line) => (BAR + line).trimEnd());
  if (foreign > 0) {
    const what = foreign === 1 ? "1 character" : `${foreign} characters`;
    lines.push(...fold(`it has ${what} beyond ASCII, which can look like others`, width - 2).map((l) => MARGIN + l));
  }
  for (const query of graphqlIn(body)) {
    lines.push(`${MARGIN}its GraphQL, line by line:`);
    for (const line of query.split("\n")) {
      fold(showExact(line), room).forEach((part, i) => void lines.push(((i === 0 ? BAR : CONTINUED) + part).trimEnd()));
    }
  }
  return lines;
}

/** None where parsing could have dropped something of it, such as a member that stands twice. */
function graphqlIn(body: string): readonly string[] {
  try {
    const parsed: unknown = JSON.parse(body);
    if (JSON.stringify(parsed) !== body) return [];
    const documents: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    return documents.flatMap((one) =>
      typeof one === "object" && one !== null && "query" in one && typeof one.query === "string" ? [one.query] : [],
    );
  } catch {
    return [];
  }
}

function whereFacts({ permissions, upstream }: HoldDocument): readonly Fact[] {
  return [
    ...permissions.flatMap(({ action, resource, labels }): Fact[] => {
      const { environment = [], ...rest } = labels;
      const others = Object.keys(rest)
        .toSorted()
        .map((name) => `${name} ${(rest[name] ?? []).map(showLabel).join("+")}`);
      return [
        ["where", showExact(`${action} ${resource}`)],
        ["environment", showExact(environment.map(showLabel).join(", ")) || "none"],
        ["labels", showExact(others.join(", ")) || "none"],
      ];
    }),
    ["upstream", showExact(upstream)],
  ];
}

/** Quoted where it is none of those that a label has, so that none looks like two. */
function showLabel(value: string): string {
  return isLabelValue(value) ? value : JSON.stringify(value);
}

function whoFacts({ agents, task, reason, role, grant, issuer }: HoldDocument): readonly Fact[] {
  const chain = agents.map(({ name, owner }) => `${name} (${owner === null ? "no owner" : `owner ${owner}`})`);
  return [
    ["who asks", showExact(chain.join(", for it "))],
    ["task", showProse(task)],
    ["reason", reason === null ? "none given" : showProse(reason)],
    ["role", showExact(role)],
    ["grant", showExact(grant)],
    ["broker", showExact(issuer)],
  ];
}

function demandFacts({ permissions, requires }: Demand, all: readonly Demand[]): readonly Fact[] {
  const whose = permissions.map(({ action, resource }) => `${action} ${resource}`).join(", ");
  return [
    ...(all.length > 1 ? [["for", showExact(whose)] as const] : []),
    ...describeRequirements(requires, isSigned(all)).map((line): Fact => ["requires", showExact(line)]),
  ];
}

/** The delay of each demand runs from the last signature that any of them needs; where none does, from the request. */
function isSigned(demands: readonly Demand[]): boolean {
  return demands.some(({ requires }) => requires.approvals !== null);
}

/** One line a requirement, whole. */
function describeRequirements(requires: Requirements, signed: boolean): readonly string[] {
  const { approvals, delaySeconds, backup, reason, window, expireSeconds } = requires;
  const lines: string[] = [];
  if (approvals !== null) {
    const { count, from, perTeam } = approvals;
    const each = perTeam ? ", at least one of each team" : "";
    lines.push(`${count} ${count === 1 ? "person" : "people"} of ${from.join(", ")} must sign${each}`);
  }
  if (delaySeconds !== null) {
    const start = signed ? "the last signature" : "the request";
    lines.push(`a delay of ${formatDuration(delaySeconds)} after ${start}, in which it can be cancelled`);
  }
  if (backup !== null) {
    const apart = backup.separateFrom.length === 0 ? "" : `, elsewhere by ${backup.separateFrom.join(", ")}`;
    const tested = backup.restoreTested ? ", a restore from it tested" : "";
    lines.push(`a backup, at most ${formatDuration(backup.maxAgeSeconds)} old${apart}${tested}`);
  }
  if (reason) lines.push("a reason");
  if (window !== null) lines.push(`${window.days.join(" ")}, ${window.from} to ${window.to}, ${window.zone}`);
  return [...lines, `given up ${formatDuration(expireSeconds)} after it could first have fired`];
}

function standingFacts(hold: Hold, now: Instant): readonly Fact[] {
  const { state, endedBy, why, requestedAt, approvals, missing, firesAt, expiresAt, endedAt, outcome } = hold;
  const isLive = isLiveState(state);
  const ended = [endedBy === null ? "" : ` by ${endedBy}`, why === null ? "" : `: ${why}`].join("");
  return [
    ["state", showProse(`${state}${ended}`)],
    ["asked", `${sayAgo(requestedAt, now)}, ${requestedAt}`],
    ...(endedAt === null ? [] : [["ended", `${sayAgo(endedAt, now)}, ${endedAt}`] as const]),
    ...approvals.map(({ person, teams, decision, at, counts }): Fact => {
      const what = decision === "approve" ? "approved" : "denied";
      const gone = counts ? "" : "; it does not count any more";
      return ["signed", showExact(`${person} (${teams.join(", ")}) ${what} at ${at}${gone}`)];
    }),
    ...missing.map(({ message }): Fact => ["waits for", showProse(message)]),
    ...(firesAt === null ? [] : [["fires", sayWhen(firesAt, now, "at once")] as const]),
    ...(isLive ? [["expires", sayWhen(expiresAt, now, "at once")] as const] : []),
    ...(outcome === null ? [] : [["outcome", sayOutcome(outcome)] as const]),
  ];
}

/** Only whether anything differs for this one is not known before it fires. */
function policyFacts({ hold: { state }, policyChanged }: HoldAnswer): readonly Fact[] {
  if (!policyChanged || !isLiveState(state)) return [];
  return [["policy", "has changed since it was asked: if that changes this request, it will be stale, not fired"]];
}

function sayOutcome({ status, body, readable }: NonNullable<Hold["outcome"]>): string {
  const answered = status === null ? "it happened" : `the upstream answered ${status}`;
  const digest = body === null ? "" : `, ${body.bytes} bytes, SHA-256 ${showExact(body.sha256)}`;
  return `${answered}${digest}${readable ? "; its agent has not read it yet" : ""}`;
}

/** How old the last backup of each resource is, whether it counts, and whether it still can when this fires. */
function backupFacts({ hold, document, backups }: HoldAnswer, now: Instant): readonly Fact[] {
  const maxAges = backupAges(document.demands);
  const firesAt = earliestFiring(hold, now);
  return [...new Set(document.permissions.map(({ resource }) => resource))].flatMap((resource): Fact[] => {
    const own = backups.filter((backup) => backup.resource === resource);
    const named: Fact = ["backups", showExact(resource)];
    const maxAgeSeconds = maxAges.get(resource);
    if (maxAgeSeconds === undefined) return [named, ["", "none is required, so none was looked for"]];
    if (own.length === 0) return [named, ["", "nobody has attested one"]];
    return [
      named,
      ...own.map(({ takenAt, agent, location, restoreTestedAt, fault }): Fact => {
        const age = now - Date.parse(takenAt);
        const taken = age < 0 ? `from the future, ${takenAt}` : `${formatSpan(age)} old, ${takenAt}`;
        const place = Object.entries(location).map(([field, value]) => `${field} ${value}`);
        const tested = restoreTestedAt === null ? "restore not tested" : `restore tested at ${restoreTestedAt}`;
        const late = firesAt === null ? "" : sayTooOldThen(takenAt, maxAgeSeconds, firesAt);
        const verdict = fault === null ? `it counts${late}` : `it does not count: ${fault}`;
        return ["", showProse(`${taken}, by ${agent}, at ${place.join(", ")}, ${tested}; ${verdict}`)];
      }),
    ];
  });
}

/** Of each resource that needs a backup, how old it may be in seconds, by the strictest demand. */
function backupAges(demands: readonly Demand[]): ReadonlyMap<string, number> {
  const ages = new Map<string, number>();
  for (const { permissions, requires } of demands) {
    if (requires.backup === null) continue;
    for (const { resource } of permissions)
      ages.set(resource, Math.min(ages.get(resource) ?? Infinity, requires.backup.maxAgeSeconds));
  }
  return ages;
}

/** A delay that does not run yet is counted from now: it begins no earlier. Null where it has ended. */
function earliestFiring({ state, firesAt, missing }: Hold, now: Instant): Instant | null {
  if (state !== "waiting" && state !== "ready") return null;
  const others = missing.map((one) => {
    switch (one.kind) {
      case "delay":
        return one.until === null ? now + one.delaySeconds * 1000 : Date.parse(one.until);
      case "window":
        return Date.parse(one.opensAt);
      case "approvals":
      case "backup":
        return now;
    }
  });
  return Math.max(now, ...(firesAt === null ? [] : [Date.parse(firesAt)]), ...others);
}

/** The end of a sentence; empty where the backup is still fresh then. */
function sayTooOldThen(takenAt: string, maxAgeSeconds: number, firesAt: Instant): string {
  const oldest = firesAt - maxAgeSeconds * 1000;
  if (Date.parse(takenAt) >= oldest) return "";
  const since = Math.abs(oldest) <= MAX_INSTANT ? `, taken after ${toTimestamp(oldest)}` : "";
  return `, and will be too old when this fires: a newer one is needed${since}`;
}

function otherFacts({ grants, holds, more }: HoldAnswer["others"]): readonly Fact[] {
  const facts: Fact[] = [
    ...grants.map(({ role, task, permissions }): Fact => [
      "also has",
      `${showExact(`${permissions.join(", ")} by role ${role}`)}, for: ${showProse(task)}`,
    ]),
    ...holds.map(({ id, operation, task, permissions }): Fact => [
      "also waits",
      `${showExact(`${id} ${operation}: ${permissions.join(", ")}`)}, for: ${showProse(task)}`,
    ]),
  ];
  if (facts.length === 0) return [["also", "nothing else of this agent is alive or waits"]];
  return more ? [...facts, ["also", "and more, which is not shown"]] : facts;
}

/** `2h 5m ago`. */
export function sayAgo(timestamp: string, now: Instant): string {
  return `${formatSpan(now - Date.parse(timestamp))} ago`;
}

/** `in 47h 12m, 2026-11-24T…`. */
function sayWhen(timestamp: string, now: Instant, past: string): string {
  const left = Date.parse(timestamp) - now;
  return `${left <= 0 ? past : `in ${formatSpan(left)}`}, ${timestamp}`;
}

/** What a Date can hold. */
const MAX_INSTANT = 8.64e15;
const MINUTE_MS = 60_000;
const DAYS_FROM_MINUTES = 72 * 60;

/** `47h 12m`, from three days on `6d 23h`, below a minute `40s`; rounded down. */
export function formatSpan(ms: number): string {
  const minutes = Math.floor(Math.max(ms, 0) / MINUTE_MS);
  if (minutes === 0) return `${Math.floor(Math.max(ms, 0) / 1000)}s`;
  const join = (large: string, small: number, unit: string): string =>
    small === 0 ? large : `${large} ${small}${unit}`;
  if (minutes >= DAYS_FROM_MINUTES) return join(`${Math.floor(minutes / 1440)}d`, Math.floor(minutes / 60) % 24, "h");
  if (minutes >= 60) return join(`${Math.floor(minutes / 60)}h`, minutes % 60, "m");
  return `${minutes}m`;
}

export function isLiveState(state: Hold["state"]): boolean {
  return state === "waiting" || state === "ready" || state === "firing";
}

/** `value` is escaped. What continues stands under the value, never where a name could. */
function layFact([name, value]: Fact, width: number): readonly string[] {
  const indent = MARGIN.length + NAME_COLUMNS;
  return fold(value, width - indent).map(
    (line, i) => MARGIN + (i === 0 ? name : "").padEnd(NAME_COLUMNS) + (line || '""'),
  );
}
