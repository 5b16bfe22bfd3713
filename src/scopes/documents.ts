// The schemas of everything that can stand in `scopes/`, one per kind, strict: an unknown key is an error.
// They say what is well-formed; `build.ts` says what fits together. No I/O.

import * as z from "zod";
import { POWERS } from "../api/route.ts";
import { Action, DurationText, Name, Resource } from "../api/values.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import { isLabelValue, isResource } from "../core/names.ts";
import { compilePattern } from "../core/pattern.ts";
import { KeyDocument } from "./key-document.ts";
import { Requires } from "./requirements.ts";
import { SettingsDocument } from "./settings.ts";
import { oneOrMany, strictObject } from "./strict-object.ts";
import { UpstreamDocument } from "./upstream-documents.ts";

/** Labels of every resource that follow from its id. */
const BUILT_IN_LABELS: readonly string[] = ["upstream", "type"];

const MAX_LABELS = 32;
const MAX_VALUES = 256;
const MAX_ACTIONS = 1000;
const MAX_PATTERNS = 1000;
const MAX_PERMISSIONS = 200;
const MAX_KEYS = 16;
const MAX_TEAMS = 64;
const MAX_PER_MINUTE = 1_000_000;
const MAX_USES = 1_000_000;

const LabelValue = z
  .string()
  .refine(isLabelValue, "expected a label value: letters, digits, '.', '_' or '-', at most 64 characters");

const LabelMap = z
  .record(Name, oneOrMany(LabelValue, MAX_VALUES))
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

const EnvironmentDocument = strictObject({
  kind: z.literal("Environment"),
  name: Name,
  protected: z.boolean().default(true).describe("true unless stated: destructive permissions need approvals there"),
});

const AgentDocument = strictObject({
  kind: z.literal("Agent"),
  name: Name,
  owner: Name.optional().describe("the person behind it, who can never approve what it asks for"),
  labels: LabelMap,
  attests: Selector.optional().describe("resources whose backups it may attest: label -> value or list of values"),
  keys: Keys,
});

const PersonDocument = strictObject({
  kind: z.literal("Person"),
  name: Name,
  powers: z.array(z.enum(POWERS)).min(1).max(POWERS.length),
  teams: z.array(Name).max(MAX_TEAMS).default([]),
  keys: Keys,
});

const ServiceDocument = strictObject({ kind: z.literal("Service"), name: Name, keys: Keys });

const ResourceDocument = strictObject({
  kind: z.literal("Resource"),
  id: Resource,
  labels: LabelMap.refine(
    (labels) => BUILT_IN_LABELS.every((label) => !Object.hasOwn(labels, label)),
    "expected no label 'upstream' or 'type': both are built in and follow from the id",
  ),
});

const PermissionDocument = strictObject({
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

const Ttl = strictObject({
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

const RoleDocument = strictObject({
  kind: z.literal("Role"),
  name: Name,
  agents: Selector,
  environments: z.array(Name).min(1).max(MAX_VALUES).optional(),
  crossing: strictObject({ from: oneOrMany(Name, MAX_VALUES), to: oneOrMany(Name, MAX_VALUES) }).optional(),
  permissions: z.array(PermissionDocument).min(1).max(MAX_PERMISSIONS),
  ttl: Ttl.optional(),
  limits: strictObject({
    perMinute: z.int().min(1).max(MAX_PER_MINUTE).optional().describe("grants and gateway calls of one agent"),
    uses: z.int().min(1).max(MAX_USES).optional().describe("gateway calls of one grant"),
  }).optional(),
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
  Settings: SettingsDocument,
} as const;

export type Kind = keyof typeof DOCUMENTS;
export type ScopeDocument = { [K in Kind]: z.infer<(typeof DOCUMENTS)[K]> }[Kind];
export type DocumentOf<K extends Kind> = Extract<ScopeDocument, { kind: K }>;
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
