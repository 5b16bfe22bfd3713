// The schemas of everything that can stand in `scopes/`, one per kind, strict: an unknown key is an error.
// They say what is well-formed; `build.ts` says what fits together. No I/O.

import * as z from "zod";
import { POWERS } from "../api/routes.ts";
import { Action, DurationText, Name, Resource } from "../api/values.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import { isLabelValue, isResource } from "../core/names.ts";
import { compilePattern } from "../core/pattern.ts";
import { KeyDocument } from "./key-document.ts";

/** Labels of every resource that follow from its id. */
const BUILT_IN_LABELS: readonly string[] = ["upstream", "type"];

const MAX_LABELS = 32;
const MAX_VALUES = 256;
const MAX_ACTIONS = 1000;
const MAX_PATTERNS = 1000;
const MAX_PERMISSIONS = 200;
const MAX_KEYS = 16;
const MAX_TEAMS = 64;
const MAX_APPROVALS = 20;
const MAX_PER_MINUTE = 1_000_000;

/** Unknown keys are answered with the known ones. */
function strict<Shape extends z.ZodRawShape>(
  shape: Shape,
  hint: (keys: readonly string[]) => string | null = () => null,
) {
  const known = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      return (
        hint(issue.keys) ??
        `expected only the keys ${known}, found ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`
      );
    },
  });
}

const oneOrMany = <Item extends z.ZodType>(item: Item) => z.union([item, z.array(item).min(1).max(MAX_VALUES)]);

const LabelValue = z
  .string()
  .refine(isLabelValue, "expected a label value: letters, digits, '.', '_' or '-', at most 64 characters");

const LabelMap = z
  .record(Name, oneOrMany(LabelValue))
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `expected at most ${MAX_LABELS} labels`);

const Selector = LabelMap.refine(
  (labels) => Object.keys(labels).length > 0,
  "expected at least one label, found an empty selector",
).describe("label -> value or list of values");

const PatternText = z
  .string()
  .refine(
    (text) => compilePattern(text) !== null && isResource(text.replaceAll("*", "x")),
    "expected a resource pattern like 'shop:volume/*' ('*' stands for characters within one segment, at most eight)",
  );

const Keys = z.array(KeyDocument).min(1).max(MAX_KEYS);

const EnvironmentDocument = strict({
  kind: z.literal("Environment"),
  name: Name,
  protected: z.boolean().default(true).describe("true unless stated: destructive permissions need approvals there"),
});

const AgentDocument = strict({
  kind: z.literal("Agent"),
  name: Name,
  owner: Name.optional().describe("the person behind it, who can never approve what it asks for"),
  labels: LabelMap,
  keys: Keys,
});

const PersonDocument = strict({
  kind: z.literal("Person"),
  name: Name,
  powers: z.array(z.enum(POWERS)).min(1).max(POWERS.length),
  teams: z.array(Name).max(MAX_TEAMS).default([]),
  keys: Keys,
});

const ServiceDocument = strict({ kind: z.literal("Service"), name: Name, keys: Keys });

const ResourceDocument = strict({
  kind: z.literal("Resource"),
  id: Resource,
  labels: LabelMap.refine(
    (labels) => BUILT_IN_LABELS.every((label) => !Object.hasOwn(labels, label)),
    "expected no label 'upstream' or 'type': both are built in and follow from the id",
  ),
});

function isAudience(text: string): boolean {
  if (/[\s#\\]/.test(text) || !URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" && url.password === "";
}

const UpstreamDocument = strict({
  kind: z.literal("Upstream"),
  name: Name,
  type: z.literal("service"),
  audience: z
    .string()
    .max(2048)
    .refine(isAudience, "expected an absolute http or https URL without fragment and user name"),
  environment: Name,
  actions: z
    .record(Action, strict({ risk: z.enum(["read", "write", "destructive", "mints-credentials"]) }))
    .refine((actions) => Object.keys(actions).length > 0, "expected at least one action, found none")
    .refine((actions) => Object.keys(actions).length <= MAX_ACTIONS, `expected at most ${MAX_ACTIONS} actions`),
});

const Requires = strict({
  approvals: strict({
    count: z.int().min(1).max(MAX_APPROVALS),
    from: z.array(Name).min(1).max(MAX_TEAMS).describe("teams whose people may approve"),
    perTeam: z.boolean().default(false),
  }).optional(),
  delay: DurationText.optional(),
  backup: strict({
    maxAge: DurationText,
    separateFrom: z.array(Name).min(1).max(MAX_LABELS),
    restoreTested: z.boolean().default(false),
  }).optional(),
  reason: z.literal(true).optional(),
}).refine(
  (requires) => Object.values(requires).some((value) => value !== undefined),
  "expected approvals, delay, backup or reason, found none: leave `requires` out where nothing is required",
);

const PermissionDocument = strict({
  actions: z.array(Action).min(1).max(MAX_ACTIONS),
  resources: z.union([Selector, z.array(PatternText).min(1).max(MAX_PATTERNS)]),
  requires: Requires.optional(),
});

interface TtlDocument {
  readonly default?: string | undefined;
  readonly max?: string | undefined;
  readonly credential?: string | undefined;
}

const DEFAULT_TTL = { default: 600, max: 1800, credential: 300 };

const Ttl = strict({
  default: DurationText.optional(),
  max: DurationText.optional(),
  credential: DurationText.optional(),
})
  .refine((ttl) => ttlSeconds(ttl).default <= ttlSeconds(ttl).max, {
    path: ["default"],
    message: "expected a default that is at most `max`",
  })
  .refine((ttl) => ttlSeconds(ttl).credential <= ttlSeconds(ttl).max, {
    path: ["credential"],
    message: "expected a credential life that is at most `max`",
  });

const RoleDocument = strict({
  kind: z.literal("Role"),
  name: Name,
  agents: Selector,
  environments: z.array(Name).min(1).max(MAX_VALUES).optional(),
  crossing: strict({ from: oneOrMany(Name), to: oneOrMany(Name) }).optional(),
  permissions: z.array(PermissionDocument).min(1).max(MAX_PERMISSIONS),
  ttl: Ttl.optional(),
  limits: strict({ perMinute: z.int().min(1).max(MAX_PER_MINUTE).optional() }, (keys) =>
    keys.includes("uses")
      ? "expected no `uses`: an upstream of type service is called without the gateway, so uses cannot be counted; take `perMinute`"
      : null,
  ).optional(),
});

/** Every kind that there is. */
export const DOCUMENTS = {
  Environment: EnvironmentDocument,
  Agent: AgentDocument,
  Person: PersonDocument,
  Service: ServiceDocument,
  Role: RoleDocument,
  Resource: ResourceDocument,
  Upstream: UpstreamDocument,
} as const;

export type Kind = keyof typeof DOCUMENTS;
export type ScopeDocument = { [K in Kind]: z.infer<(typeof DOCUMENTS)[K]> }[Kind];
export type DocumentOf<K extends Kind> = Extract<ScopeDocument, { kind: K }>;
export type RequiresDocument = z.infer<typeof Requires>;
export type LabelsDocument = z.infer<typeof LabelMap>;

/** Seconds, omitted ones filled in so that they fit what was stated. */
export function ttlSeconds(ttl: TtlDocument | undefined): {
  readonly default: number;
  readonly max: number;
  readonly credential: number;
} {
  const stated = (text: string | undefined) => (text === undefined ? null : parseDurationSeconds(text));
  const [asked, longest, each] = [stated(ttl?.default), stated(ttl?.max), stated(ttl?.credential)];
  const max = longest ?? Math.max(DEFAULT_TTL.max, asked ?? 0, each ?? 0);
  return {
    default: asked ?? Math.min(DEFAULT_TTL.default, max),
    max,
    credential: each ?? Math.min(DEFAULT_TTL.credential, max),
  };
}

/** One value or a list of them, as a list. */
export function asList(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
}

/** JSON Schemas for editors: one per kind, and `scopes.schema.json` for a file that holds any of them. */
export function emitSchemas(): Record<string, unknown> {
  const schemas: Record<string, unknown> = {};
  const all: unknown[] = [];
  for (const [kind, schema] of Object.entries(DOCUMENTS)) {
    // `input`: editors check what people write, before defaults are filled in.
    const { $schema, ...body } = z.toJSONSchema(schema, { io: "input" });
    schemas[`${kind.toLowerCase()}.schema.json`] = { $schema, title: kind, ...body };
    all.push({ title: kind, ...body });
  }
  schemas["scopes.schema.json"] = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "scopes",
    oneOf: all,
  };
  return schemas;
}
