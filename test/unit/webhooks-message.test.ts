// What a message says, and what it never says, whatever the entry holds; and that `docs/webhooks.md` says the same.

import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { draftEvent } from "../../src/audit/events.ts";
import { canonicalJson } from "../../src/core/canonical-json.ts";
import { WEBHOOK_EVENTS } from "../../src/scopes/settings.ts";
import { describeEntry } from "../../src/webhooks/describe-entry.ts";
import { makeMessage, MAX_MESSAGE_BYTES } from "../../src/webhooks/make-message.ts";
import { readWanted } from "../../src/webhooks/read-entry.ts";
import { SENT_FIELDS } from "../../src/webhooks/select-data.ts";

const ISSUER = "https://valetkey.example";
const PLACE = { id: "evt_01", seq: 7, time: "2026-11-02T09:00:00.000Z", previous: "0".repeat(64) };
const HOLD = {
  hold: "hld_01",
  kind: "call",
  grant: "grt_01",
  agent: "coder",
  owner: "ann",
  task: "tidy up",
  role: "operator",
  upstream: "railway",
  operation: "mutation volumeDelete",
  permissions: [{ action: "volume:delete", resource: "railway:volume/1", environments: ["production"] }],
  digest: "d".repeat(64),
  policy: "0".repeat(64),
};

function messageOf(type: string, fields: Readonly<Record<string, unknown>>) {
  const entry = readWanted(canonicalJson({ ...fields, ...PLACE, type }), new Set([type]));
  if (entry === null) throw new TypeError("expected an entry");
  const { id, body } = makeMessage(entry, ISSUER);
  // The shape that is under test.
  const message = JSON.parse(body) as { type: string; timestamp: string; data: Record<string, unknown>; text: string };
  return { id, body, ...message };
}

describe("a message", () => {
  it("about a hold says what is asked, by whom, of what, and nothing of the signed document", () => {
    const document = { body: "marker-1", headers: [["a", "marker-2"]] };
    const { id, body, type, timestamp, data, text } = messageOf("hold.created", {
      ...HOLD,
      document,
      approvers: ["ann"],
    });
    expect({ id, type, timestamp }).toEqual({ id: PLACE.id, type: "hold.created", timestamp: PLACE.time });
    const { digest: _digest, ...sent } = HOLD;
    expect(data).toEqual({ issuer: ISSUER, id: PLACE.id, seq: 7, ...sent });
    expect(text).toBe("hold hld_01 waits: agent coder wants mutation volumeDelete on railway:volume/1 (task tidy up)");
    expect(body).not.toContain("marker");
  });

  it("about a signature names the person, and holds neither signature nor key", () => {
    const signed = {
      person: "ann",
      decision: "approve",
      teams: ["dba"],
      signature: { value: "marker" },
      key: { x: "marker" },
    };
    const { body, data, text } = messageOf("hold.approved", { ...HOLD, ...signed });
    expect(data["person"]).toBe("ann");
    expect(text).toContain("was approved by ann");
    expect(body).not.toContain("marker");
  });

  it("about a backup holds neither the statement nor its key nor its location", () => {
    const fields = {
      agent: "backups",
      resource: "railway:volume/1",
      takenAt: PLACE.time,
      envelope: { payload: "marker" },
    };
    const { body } = messageOf("backup.attested", { ...fields, key: { x: "marker" }, location: { account: "marker" } });
    expect(body).toContain("railway:volume/1");
    expect(body).not.toContain("marker");
  });

  it("has at most 20 permissions and 5 reasons, and says how many it left out", () => {
    const permissions = Array.from({ length: 30 }, (_, i) => ({
      action: "a:b",
      resource: `u:r/${i}`,
      environments: [],
    }));
    const reasons = Array.from({ length: 9 }, () => ({ code: "no_role", message: "m".repeat(600), labels: "marker" }));
    const { body, data } = messageOf("grant.refused", { ...HOLD, permissions, permissionsOmitted: 3, reasons });
    expect(data).toMatchObject({ permissionsOmitted: 13, reasonsOmitted: 4 });
    expect([data["permissions"], data["reasons"]]).toMatchObject([{ length: 20 }, { length: 5 }]);
    expect(data["reasons"]).toMatchObject([{ message: `${"m".repeat(499)}…` }, {}, {}, {}, {}]);
    expect(body).not.toContain("marker");
  });

  it("that would be too large has shorter lists, and says what it left out", () => {
    const resource = `u:${"é".repeat(250)}`;
    const environments = Array.from({ length: 8 }, () => "é".repeat(200));
    const permissions = Array.from({ length: 20 }, () => ({ action: "a:b", resource, environments }));
    const { body, data } = messageOf("grant.refused", { ...HOLD, permissions });
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
    expect(data).toMatchObject({ agent: "coder", permissions: { length: 5 }, permissionsOmitted: 15 });
  });

  it("that is too large without any list is cut to what is needed to look it up", () => {
    const fields = Object.fromEntries(Object.keys(SENT_FIELDS).map((key) => [key, "\u0001".repeat(500)]));
    const { id, body, data } = messageOf("call.unknown", fields);
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
    expect({ id, data }).toEqual({ id: PLACE.id, data: { issuer: ISSUER, id: PLACE.id, seq: 7 } });
  });

  it("has a line of its own for every type that can be asked for", () => {
    for (const type of WEBHOOK_EVENTS) {
      const { text } = messageOf(type, {
        ...HOLD,
        person: "ann",
        by: "ann",
        canary: "can_1",
        target: { agent: "coder" },
      });
      expect(text, type).not.toMatch(/^[a-z]+\.[a-z]+/);
      expect(text, type).not.toContain("undefined");
    }
  });

  it("is JSON of at most 16 KB, with documented members alone, whatever the entry holds", () => {
    const text = fc.oneof(fc.string({ unit: "binary", maxLength: 900 }), fc.constant("\u0001".repeat(900)));
    const value = fc.oneof(text, fc.jsonValue(), fc.array(fc.oneof(text, fc.jsonValue()), { maxLength: 40 }));
    const keys = [...Object.keys(SENT_FIELDS), "document", "signature", "key", "envelope", "__proto__", "teams"];
    const fields = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 30 });
    fc.assert(
      fc.property(fc.constantFrom(...WEBHOOK_EVENTS, "other.thing"), fields, (type, extra) => {
        const entry = { id: "evt_1", seq: 7, type, time: PLACE.time, instant: 0, fields: extra };
        const { body } = makeMessage(entry, ISSUER);
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
        // The shape that is under test.
        const message = JSON.parse(body) as { readonly data: Readonly<Record<string, unknown>> };
        expect(Object.keys(message)).toEqual(["type", "timestamp", "data", "text"]);
        const allowed = new Set(["issuer", ...Object.keys(SENT_FIELDS)]);
        expect(Object.keys(message.data).filter((key) => !allowed.has(key))).toEqual([]);
      }),
    );
  });

  it("of real events is never refused for what is unusual in them", () => {
    const { fields } = draftEvent({
      type: "policy.activated",
      policy: "f".repeat(64),
      previousPolicy: null,
      person: null,
      reason: null,
      request: null,
    });
    expect(messageOf("policy.activated", fields).text).toBe("policy ffffffffffff is in force");
    expect(messageOf("policy.activated", { ...fields, person: "admin-1", reason: "reviewed" }).text).toMatch(
      /^policy ffffffffffff is in force, activated by admin-1.*reviewed/,
    );
    const decoy = { canary: "can_1", like: "github", where: "body", agent: null, route: "/v1", request: "req_1" };
    expect(messageOf("decoy.presented", decoy)).toMatchObject({ data: { agent: null, where: "body" } });
  });
});

describe("the line for people", () => {
  it("holds no markup, no mention and no second line that an agent could write", () => {
    const hostile = "<!channel> <https://evil.example|approve> [a](https://evil.example)\n`@all`\u202e";
    const line = describeEntry("hold.created", { ...HOLD, task: hostile, agent: hostile, operation: hostile });
    expect(line).not.toMatch(/[<>[\]`@\n\u202e]/);
    expect(line).toContain("‹!channel›");
  });

  it("has at most 1000 characters, in one line, for anything", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...WEBHOOK_EVENTS, "other.thing", "__proto__", "toString"),
        fc.dictionary(
          fc.constantFrom(...Object.keys(SENT_FIELDS)),
          fc.oneof(fc.string({ maxLength: 2000 }), fc.anything()),
        ),
        (type, data) => {
          const line = describeEntry(type, data);
          expect(line.length).toBeLessThanOrEqual(1000);
          expect(line).not.toMatch(/[\p{Cc}<>[\]`@]/u);
        },
      ),
    );
  });
});

describe("an entry", () => {
  it("is passed over without being parsed exactly where its type is none that is wanted", () => {
    const type = fc.constantFrom("hold.created", "hold.fired", "call.allowed", "type");
    const nested = fc.oneof(type, fc.record({ type }), fc.constant('"type":"hold.created"'), fc.jsonValue());
    fc.assert(
      fc.property(type, fc.dictionary(fc.string(), nested), fc.uniqueArray(type), (own, extra, wanted) => {
        const line = canonicalJson({ ...extra, ...PLACE, type: own });
        const read = readWanted(line, new Set(wanted));
        expect(read?.type ?? null).toBe(wanted.includes(own) ? own : null);
      }),
    );
  });

  it.each(["", "null", "[]", '{"type":"hold.created"', '{"type":"hold.created"}', '"\\"type\\":\\"hold.created\\""'])(
    "that is none is passed over: %s",
    (line) => {
      expect(readWanted(line, new Set(["hold.created"]))).toBeNull();
    },
  );
});

describe("docs/webhooks.md", () => {
  it("lists the fields that are sent and the events that can be asked for, all of them and no other", async () => {
    const text = await readFile("docs/webhooks.md", "utf8");
    const section = (title: string): string => text.split(`## ${title}\n`)[1]?.split("\n## ")[0] ?? "";
    const firstCells = (part: string): string[] =>
      part.split("\n").flatMap((line) => {
        const cell = /^\| (`[^|]*) \|/.exec(line)?.[1] ?? "";
        return [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
      });
    expect(firstCells(section("Data")).toSorted()).toEqual(["issuer", ...Object.keys(SENT_FIELDS)].toSorted());
    expect(firstCells(section("Events")).toSorted()).toEqual([...WEBHOOK_EVENTS].toSorted());
  });
});
