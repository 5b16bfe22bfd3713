// The document of `kind: Settings`: strikes, how many holds an agent may have, and who is told of what; and what becomes
// of it. Holds no secret, only names of secrets.

import * as z from "zod";
import { isOrigin } from "../api/secrets.ts";
import { Name } from "../api/values.ts";
import { durationUpTo, secondsOf } from "./bounded-duration.ts";
import { freezeSet } from "./frozen.ts";
import { PrivateAddresses, SecretReferenceText } from "./outgoing.ts";
import { compareText } from "./problem.ts";
import type { Settings, Webhook } from "./scope-set.ts";
import { strictObject } from "./strict-object.ts";

const MAX_REFUSALS = 10_000;
const MAX_HOLDS = 10_000;
const MAX_WEBHOOKS = 16;
const MAX_URL_LENGTH = 2048;

/** Types of the record's entries that can be sent: what somebody has to hear of, and nothing that happens at each call. */
export const WEBHOOK_EVENTS = [
  "grant.issued",
  "grant.refused",
  "hold.created",
  "hold.approved",
  "hold.denied",
  "hold.claimed",
  "hold.fired",
  "hold.cancelled",
  "hold.expired",
  "hold.invalidated",
  "hold.returned",
  "hold.unknown",
  "cutoff.created",
  "grant.revoked",
  "agent.frozen",
  "agent.struck",
  "grant.struck",
  "agent.unfrozen",
  "decoy.presented",
  "policy.activated",
  "policy.rejected",
  "backup.attested",
  "call.unknown",
  "credential.unconfirmed",
] as const;

/** As it will be sent: one spelling, so that what people read is where it goes. */
function isWebhookUrl(text: string): boolean {
  if (text.includes("#") || !URL.canParse(text)) return false;
  const { href, origin, pathname, username, password } = new URL(text);
  // Two slashes would be read as another host by who resolves the path.
  const isPlain = username === "" && password === "" && !pathname.startsWith("//");
  return isOrigin(origin) && isPlain && (href === text || href === `${text}/`);
}

const WebhookDocument = strictObject({
  name: Name,
  url: z
    .string()
    .max(MAX_URL_LENGTH)
    .refine(
      isWebhookUrl,
      "expected an https URL as it is sent, without user name and fragment (http for a loopback address alone)",
    ),
  secret: SecretReferenceText.describe("signs the messages: whsec_… is what it holds"),
  events: z
    .array(z.enum(WEBHOOK_EVENTS))
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .refine((events) => new Set(events).size === events.length, "expected each event once"),
  addresses: PrivateAddresses,
});

export const SettingsDocument = strictObject({
  kind: z.literal("Settings"),
  strikes: strictObject({
    refusals: z.int().min(1).max(MAX_REFUSALS).default(5),
    window: durationUpTo("1h").default("60s"),
  })
    .prefault({})
    .describe("so many refusals within the window, and the agent is frozen or its grant ends"),
  holds: strictObject({ perAgent: z.int().min(1).max(MAX_HOLDS).default(20) })
    .prefault({})
    .describe("requests of one agent that may wait at a time"),
  webhooks: z
    .array(WebhookDocument)
    .max(MAX_WEBHOOKS)
    .refine((hooks) => new Set(hooks.map(({ name }) => name)).size === hooks.length, "expected each name once")
    .default([])
    .describe("who is told of what, by signed messages"),
});

/** Where no document says anything: the same defaults as in one that says nothing. */
export function toSettings(document: z.infer<typeof SettingsDocument> | undefined): Settings {
  const { strikes, holds, webhooks } = document ?? SettingsDocument.parse({ kind: "Settings" });
  return Object.freeze({
    strikes: Object.freeze({ refusals: strikes.refusals, windowSeconds: secondsOf(strikes.window) }),
    holds: Object.freeze({ perAgent: holds.perAgent }),
    webhooks: Object.freeze(webhooks.map(toWebhook).toSorted((a, b) => compareText(a.name, b.name))),
  });
}

function toWebhook({ name, url, secret, events, addresses }: z.infer<typeof WebhookDocument>): Webhook {
  return Object.freeze({
    name,
    url: new URL(url).href,
    secret,
    events: freezeSet(new Set<string>(events)),
    addresses: Object.freeze([...addresses]),
  });
}
