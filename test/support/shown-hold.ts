// A request that waits, as a broker answers it to whoever reads it before they sign; and texts that attack its reader.

import { createHash } from "node:crypto";
import fc from "fast-check";
import type { HoldAnswer } from "../../src/api/holds.ts";
import { digestOfHold, type HoldDocument } from "../../src/core/hold-document.ts";

export const SHOWN_HOLD = "hld_01JD3V9K2M8Q5R7T9W1X3Z5B7D";
export const SHOWN_GRANT = "grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D";
export const SHOWN_ISSUER = "https://valetkey.example";
export const SHOWN_AT = Date.parse("2026-11-22T12:00:00.000Z");
const VOLUME = "railway:volume/vol_1";
const QUERY = 'mutation {\n  volumeDelete(volumeId: "vol_1")\n}';
export const BODY = JSON.stringify({ query: QUERY, variables: {} });
export const PERMISSION = { action: "volume:delete", resource: VOLUME } as const;

type Call = Extract<HoldDocument["subject"], { kind: "call" }>;

export function callWith(body: string | null, change: Partial<Call> = {}): Call {
  const bytes = Buffer.from(body ?? "");
  return {
    kind: "call",
    operation: "mutation volumeDelete",
    origin: "https://backboard.example",
    method: "POST",
    path: "/graphql/v2",
    query: null,
    headers: [["content-type", "application/json"]],
    rootCredential: "railway-root",
    idempotent: false,
    body: body === null ? null : { sha256: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length },
    ...change,
  };
}

export function documentWith(change: Partial<HoldDocument> = {}): HoldDocument {
  return {
    type: "valetkey-hold/1",
    issuer: SHOWN_ISSUER,
    hold: SHOWN_HOLD,
    grant: SHOWN_GRANT,
    agents: [{ name: "coder", owner: "admin-1" }],
    task: "remove old uploads",
    role: "volume-keeper",
    upstream: "railway",
    permissions: [{ ...PERMISSION, labels: { environment: ["production"], account: ["shop-main"] } }],
    demands: [
      {
        permissions: [PERMISSION],
        requires: {
          approvals: { count: 2, from: ["oncall", "dba"], perTeam: true },
          delaySeconds: 172_800,
          backup: { maxAgeSeconds: 86_400, separateFrom: ["volume", "account"], restoreTested: true },
          reason: true,
          window: { days: ["mon", "tue"], from: "09:00", to: "17:00", zone: "Europe/Berlin" },
          expireSeconds: 604_800,
        },
      },
    ],
    reason: "it is not used any more",
    subject: callWith(BODY),
    ...change,
  };
}

/** As a broker answers; `hold` says the digest of the document. */
export function answerWith(
  change: { document?: Partial<HoldDocument>; body?: string | null; rest?: object } = {},
): HoldAnswer {
  const document = documentWith(change.document);
  let digest = "none";
  try {
    digest = digestOfHold(document);
  } catch {
    // Half pairs of UTF-16 have no canonical form.
  }
  const answer = {
    hold: {
      id: SHOWN_HOLD,
      kind: document.subject.kind,
      state: "waiting",
      endedBy: null,
      why: null,
      agent: "coder",
      owner: "admin-1",
      task: "remove old uploads",
      role: "volume-keeper",
      upstream: "railway",
      grant: SHOWN_GRANT,
      operation: "mutation volumeDelete",
      permissions: [{ ...PERMISSION, environments: ["production"] }],
      reason: "it is not used any more",
      digest,
      requestedAt: "2026-11-22T11:57:00.000Z",
      firesAt: "2026-11-24T11:12:00.000Z",
      expiresAt: "2026-12-01T12:00:00.000Z",
      endedAt: null,
      missing: [{ kind: "delay", message: "its delay of 48h", until: null, delaySeconds: 172_800 }],
      approvals: [
        { person: "dba-1", teams: ["dba"], decision: "approve", at: "2026-11-22T11:58:00.000Z", counts: false },
      ],
      outcome: null,
      version: 2,
    },
    document,
    body: change.body === undefined ? BODY : change.body,
    backups: [
      {
        id: "att_01JD3V9K2M8Q5R7T9W1X3Z5B7D",
        resource: VOLUME,
        agent: "backup-1",
        location: { account: "shop-backups" },
        takenAt: "2026-11-22T08:48:00.000Z",
        restoreTestedAt: null,
        bytes: null,
        sha256: null,
        fault: "no restore of it was tested",
      },
    ],
    others: { grants: [], holds: [], more: false },
    ineligible: null,
    policyChanged: false,
    ...change.rest,
  };
  // What tests put in is of the wire's shape, but for the texts that attack it.
  return answer as HoldAnswer;
}

/** What an escape stands for. */
export const readBack = (text: string): string =>
  text.replace(/\\u\{([0-9a-f]+)\}/g, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));

const ATTACKS = Array.from(
  "\u0000\n\r\t\u001B\u007F\u009B\u00AD\u200B\u200E\u202E\u2066\u2028\uFEFF\u3164\u2800 \u00A0\\u{}0|+\u05D0\u0627\u0336",
);

/** Any UTF-16, half pairs too, with many of the characters that attack a reader. */
export const hostile = fc
  .array(
    fc.oneof(
      {
        weight: 2,
        arbitrary: fc.constantFrom(...ATTACKS),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "\\u{202e}",
          "\u{E0041}",
          "\u{E000}",
          "\\u",
          "  | ",
          "  digest       ",
          "e\u0301\u0336",
        ),
      },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 0xff_ff }).map((unit) => String.fromCharCode(unit)) },
      { weight: 2, arbitrary: fc.string() },
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(""));

/** Columns on a terminal that gives two to whatever may take two. */
export const widest = (line: string): number => line.length + (line.match(/[^ -~]/g)?.length ?? 0);

export const RAW = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
