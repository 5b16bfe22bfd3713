// One line for people about an entry of the record, for chat tools that show `text`. Parts of it were written by agents:
// nothing in it can be a link, a mention or a second line. Never more than the data of the message says.

type Data = Readonly<Record<string, unknown>>;

const MAX_LINE = 1000;
const MAX_SHOWN = 3;
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;
/** What chat tools read as markup, as characters that look alike: `<!channel>`, `<https://…|text>`, `[text](https://…)`. */
const LOOK_ALIKE: Readonly<Record<string, string>> = { "<": "‹", ">": "›", "[": "(", "]": ")", "`": "'", "@": "＠" };

const LINES: Readonly<Record<string, (data: Data) => string>> = {
  "hold.created": (data) => `hold ${of(data, "hold")} waits: ${wish(data)}`,
  "hold.approved": (data) => `hold ${of(data, "hold")} was approved by ${of(data, "person")}: ${wish(data)}`,
  "hold.denied": (data) => `hold ${of(data, "hold")} was denied by ${of(data, "person")}: ${wish(data)}`,
  "hold.claimed": (data) => `hold ${of(data, "hold")} fires: ${wish(data)}`,
  "hold.fired": (data) => `hold ${of(data, "hold")} fired: ${of(data, "outcome")}${status(data)}; ${wish(data)}`,
  "hold.cancelled": (data) =>
    `hold ${of(data, "hold")} was cancelled by ${of(data, "by")}${because(data)}; ${wish(data)}`,
  "hold.expired": (data) => `hold ${of(data, "hold")} expired: ${wish(data)}`,
  "hold.invalidated": (data) => `hold ${of(data, "hold")} is stale: ${names(data["changed"])} changed; ${wish(data)}`,
  "hold.returned": (data) => `hold ${of(data, "hold")} waits again, ${of(data, "cause")}: ${wish(data)}`,
  "hold.unknown": (data) => `hold ${of(data, "hold")}: what it did is not known, ${of(data, "cause")}; ${wish(data)}`,
  "grant.issued": (data) => `grant ${of(data, "grant")} was issued: ${wish(data)}`,
  "grant.refused": (data) => `a grant was refused (${codes(data)}): ${wish(data)}`,
  "grant.revoked": (data) => `grants of ${target(data)} were revoked by ${of(data, "person")}${because(data)}`,
  "grant.struck": (data) => `a grant of agent ${of(data, "agent")} was ended by the broker${because(data)}`,
  "cutoff.created": (data) => `${target(data)} was cut off by ${of(data, "person")}${because(data)}`,
  "agent.frozen": (data) => `agent ${of(data, "agent")} was frozen by ${of(data, "person")}${because(data)}`,
  "agent.struck": (data) => `agent ${of(data, "agent")} was frozen by the broker${because(data)}`,
  "agent.unfrozen": (data) => `agent ${of(data, "agent")} was unfrozen by ${of(data, "person")}${because(data)}`,
  "decoy.presented": (data) =>
    typeof data["agent"] === "string"
      ? `decoy ${of(data, "canary")} was presented by agent ${of(data, "agent")}`
      : `decoy ${of(data, "canary")} was presented by nobody who proved to be somebody`,
  "policy.activated": (data) => {
    const by = typeof data["person"] === "string" ? `, activated by ${of(data, "person")}${because(data)}` : "";
    return `policy ${of(data, "policy").slice(0, 12)} is in force${by}`;
  },
  "policy.rejected": (data) => `a changed policy was rejected: ${names(data["problems"])}`,
  "backup.attested": (data) =>
    `a backup of ${of(data, "resource")} of ${of(data, "takenAt")} was attested by agent ${of(data, "agent")}`,
  "credential.unconfirmed": (data) =>
    `a credential of agent ${of(data, "agent")} at ${of(data, "upstream")} (${of(data, "handle")}) could not be ended and may still be accepted: ${of(data, "why")}`,
  "call.unknown": (data) => `what a call did is not known, ${of(data, "cause")}: ${wish(data)}`,
};

/** At most 1000 characters, in one line. */
export function describeEntry(type: string, data: Data): string {
  const line = Object.hasOwn(LINES, type) ? LINES[type]?.(data) : undefined;
  const plain = (line ?? `${type}: agent ${of(data, "agent")}`).replace(UNSEEN, "\ufffd");
  const harmless = plain.replace(/[<>[\]`@]/g, (character) => LOOK_ALIKE[character] ?? character);
  return harmless.length <= MAX_LINE ? harmless : `${harmless.slice(0, MAX_LINE - 1).toWellFormed()}…`;
}

/** `agent coder wants mutation volumeDelete on railway:volume/1 (task tidy up)`. */
function wish(data: Data): string {
  const permissions = Array.isArray(data["permissions"]) ? data["permissions"].map(asObject) : [];
  const operation = data["operation"];
  const isCall = typeof operation === "string" && operation !== "grant";
  const what = isCall ? operation : names(distinct(permissions, "action"));
  const where = names(distinct(permissions, "resource"));
  return `agent ${of(data, "agent")} wants ${what} on ${where} (task ${of(data, "task")})`;
}

function distinct(permissions: readonly Data[], key: string): readonly string[] {
  return [...new Set(permissions.map((permission) => of(permission, key)))];
}

function of(data: Data, key: string): string {
  const value = data[key];
  return typeof value === "string" && value !== "" ? value : "unknown";
}

function status(data: Data): string {
  return typeof data["status"] === "number" ? ` (status ${data["status"]})` : "";
}

function because(data: Data): string {
  return typeof data["reason"] === "string" ? `: ${data["reason"]}` : "";
}

function codes(data: Data): string {
  const reasons = Array.isArray(data["reasons"]) ? data["reasons"].map(asObject) : [];
  return names(distinct(reasons, "code"));
}

function target(data: Data): string {
  const parts = Object.entries(asObject(data["target"])).map(([key, value]) =>
    value === true ? key : `${key} ${String(value)}`,
  );
  return names(parts);
}

function names(list: unknown): string {
  const all = Array.isArray(list) ? list.map(String) : [];
  if (all.length === 0) return "nothing that is named";
  const more = all.length > MAX_SHOWN ? ` and ${all.length - MAX_SHOWN} more` : "";
  return all.slice(0, MAX_SHOWN).join(", ") + more;
}

function asObject(value: unknown): Data {
  // Members are looked at one by one, each for its own type.
  return typeof value === "object" && value !== null ? (value as Data) : {};
}
