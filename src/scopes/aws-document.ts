// The schema of an upstream of type aws: one role of one account, where grants become sessions whose policy is no wider than
// what the grant's permissions stand for. Says what is well-formed; `aws-upstream.ts` says what it means. No I/O.

import * as z from "zod";
import { Origin } from "../api/secrets.ts";
import { Action, Name } from "../api/values.ts";
import { isAwsAction } from "./aws-actions.ts";
import { durationUpTo, secondsOf } from "./bounded-duration.ts";
import { NamedFile, PrivateAddresses, SecretReferenceText } from "./outgoing.ts";
import type { Risk } from "./scope-set.ts";
import { strictObject } from "./strict-object.ts";

const MAX_MAPPINGS = 1000;
const MAX_LISTED = 64;
const MAX_HOPS = 4;
const MAX_PATH_LENGTH = 256;
const MAX_ARN_LENGTH = 512;
const MAX_URL_LENGTH = 1024;
/** What AssumeRole gives at least. */
const MIN_SESSION_SECONDS = 900;

/** Account, path and name; the account is left out by gateways that are not AWS. */
const RoleArn = z
  .string()
  .regex(
    /^arn:aws(?:-[a-z]{1,16}){0,3}:iam::(?:\d{12})?:role\/(?:[\w+=,.@-]{1,64}\/){0,8}[\w+=,.@-]{1,64}$/,
    "expected a role's ARN like 'arn:aws:iam::123456789012:role/shop-agents'",
  );

const ExternalId = z.string().regex(/^[\w+=,.@:/-]{2,1224}$/, "expected 2 to 1224 letters, digits or any of _+=,.@:/-");

const AwsAction = z.string().refine(isAwsAction, "expected one action of AWS like 's3:GetObject' (no wildcards)");

/** Placeholders `{bucket}` apart. At its end `/*` or `:*` may stand for what is inside. */
const ArnTemplate = z
  .string()
  .max(MAX_ARN_LENGTH)
  .regex(
    /^arn:aws(?:-[a-z]{1,16}){0,3}:[a-z][a-z0-9-]{1,62}:[a-z0-9-]{0,32}:(?:\d{12})?:[A-Za-z0-9._~@+=:/{}-]+(?:(?<=[/:])\*)?$/,
    "expected an ARN like 'arn:aws:s3:::{bucket}/*', with '*' nowhere but after a '/' or ':' at its end",
  );

const Mapping = strictObject({
  action: Action,
  resource: z
    .string()
    .min(1)
    .max(MAX_PATH_LENGTH)
    .describe("what follows the upstream's name and the colon: bucket/{bucket}, object/{bucket}/{key+}"),
  allow: z.array(AwsAction).min(1).max(MAX_LISTED).describe("what the session may do there"),
  on: z.array(ArnTemplate).min(1).max(MAX_LISTED).describe("on what: ARNs with the placeholders of `resource`"),
});

export const awsUpstream = (actions: z.ZodType<Record<string, { risk: Risk }>>) =>
  strictObject({
    kind: z.literal("Upstream"),
    name: Name,
    type: z.literal("aws"),
    environment: Name,
    region: z.string().regex(/^[a-z][a-z0-9-]{1,31}$/, "expected a region like 'eu-central-1'"),
    role: RoleArn.describe("which the broker assumes for each grant"),
    externalId: ExternalId.optional(),
    through: z
      .array(strictObject({ role: RoleArn, externalId: ExternalId.optional() }))
      .max(MAX_HOPS)
      .default([])
      .describe("roles that are assumed on the way to it, in this order"),
    credential: strictObject({ secret: SecretReferenceText })
      .optional()
      .describe(
        "a static key 'ID:SECRET'; left out, as it should be: the identity of the broker's machine or workload",
      ),
    maxSession: durationUpTo("12h")
      .refine((duration) => secondsOf(duration) >= MIN_SESSION_SECONDS, "expected at least 15m")
      .default("1h")
      .describe("at most the role's MaxSessionDuration; a longer grant's session is renewed"),
    probe: strictObject({
      url: z
        .string()
        .max(MAX_URL_LENGTH)
        .refine(isProbeUrl, "expected an https URL (http for a loopback address), without user name and fragment"),
      service: z.string().regex(/^[a-z][a-z0-9-]{1,62}$/, "expected the service's signing name like 's3'"),
      allow: AwsAction,
      on: ArnTemplate,
    })
      .optional()
      .describe("a GET that the role may do: by it is seen that a revoked session is refused"),
    endpoints: strictObject({ sts: Origin, iam: Origin }).optional().describe("instead of AWS's own"),
    ca: NamedFile.optional().describe("PEM certificates to trust instead of the system's"),
    addresses: PrivateAddresses,
    actions,
    mappings: z.array(Mapping).min(1).max(MAX_MAPPINGS),
  });

function isProbeUrl(text: string): boolean {
  if (!URL.canParse(text) || /[\s\\#]/.test(text)) return false;
  const { origin, username, password, hash } = new URL(text);
  return Origin.safeParse(origin).success && username === "" && password === "" && hash === "";
}

export type AwsUpstreamDocument = z.infer<ReturnType<typeof awsUpstream>>;
