// What a person sees of a request before they sign it: nothing that hides or moves text, nothing left out, and nothing that
// is not in the document that is signed.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HoldAnswer } from "../../src/api/holds.ts";
import { formatSpan, showHold } from "../../src/cli/show-hold.ts";
import {
  answerWith,
  callWith,
  documentWith,
  SHOWN_GRANT,
  hostile,
  SHOWN_AT,
  PERMISSION,
  RAW,
  readBack,
  widest,
} from "../support/shown-hold.ts";

const COLUMNS = 100;
const shown = (answer: HoldAnswer, columns = COLUMNS): string => showHold(answer, SHOWN_AT, columns).join("\n");

describe("a request as a person reads it", () => {
  it("says what, where, who, why, what it demands and what there is of it", () => {
    expect(shown(answerWith())).toMatchInlineSnapshot(`
      "what is asked: hold hld_01JD3V9K2M8Q5R7T9W1X3Z5B7D
        what         mutation volumeDelete
        sends        POST https://backboard.example/graphql/v2
        header       content-type: application/json
        with         the root credential railway-root
        body         77 bytes, SHA-256 c17e08fd2819bfa31ac52ff29af5561f759a4d8e086ba0348ba52a5646ee0eea
        | {"query":"mutation {\\n  volumeDelete(volumeId: \\"vol_1\\")\\n}","variables":{}}
        its GraphQL, line by line:
        | mutation {
        |   volumeDelete(volumeId: "vol_1")
        | }
        where        volume:delete railway:volume/vol_1
        environment  production
        labels       account shop-main
        upstream     railway
        who asks     coder (owner admin-1)
        task         remove old uploads
        reason       it is not used any more
        role         volume-keeper
        grant        grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D
        broker       https://valetkey.example
        requires     2 people of oncall, dba must sign, at least one of each team
        requires     a delay of 48h after the last signature, in which it can be cancelled
        requires     a backup, at most 24h old, elsewhere by volume, account, a restore from it tested
        requires     a reason
        requires     mon tue, 09:00 to 17:00, Europe/Berlin
        requires     given up 7d after it could first have fired
        digest       0013a87f8542861d1b5506714976da0252281b04ea042a5b66aab1d2aa90cf49

      what the broker says beside it, which is not signed:
        state        waiting
        asked        3m ago, 2026-11-22T11:57:00.000Z
        signed       dba-1 (dba) approved at 2026-11-22T11:58:00.000Z; it does not count any more
        waits for    its delay of 48h
        fires        in 47h 12m, 2026-11-24T11:12:00.000Z
        expires      in 9d, 2026-12-01T12:00:00.000Z
        backups      railway:volume/vol_1
                     3h 12m old, 2026-11-22T08:48:00.000Z, by backup-1, at account shop-backups, restore
                      not tested; it does not count: no restore of it was tested
        also         nothing else of this agent is alive or waits"
    `);
  });

  it("has no raw control or format character, and no line that a terminal would break, whatever stands in it", () => {
    const free = fc.record({
      operation: hostile,
      path: hostile,
      query: fc.option(hostile),
      headers: fc.array(fc.tuple(hostile, hostile), { maxLength: 3 }),
      task: hostile,
      reason: fc.option(hostile),
      label: hostile,
      message: hostile,
      body: hostile,
    });
    fc.assert(
      fc.property(free, fc.integer({ min: 0, max: 300 }), (texts, columns) => {
        const { operation, path, query, headers, task, reason, label, message, body } = texts;
        const permissions = [{ ...PERMISSION, labels: { environment: [label], [label]: [label] } }];
        const subject = callWith(body, { operation, path, query, headers, origin: label, method: label });
        const answer = answerWith({ document: { task, reason, permissions, subject }, body });
        const { hold, backups, others } = answer;
        const other = { id: SHOWN_GRANT as `grt_${string}`, role: label, task: message, permissions: [message] };
        const lines = showHold(
          {
            ...answer,
            hold: { ...hold, why: message, endedBy: message, missing: [{ ...hold.missing[0], message }] as never },
            backups: backups.map((backup) => ({ ...backup, fault: message, location: { [label]: message } })),
            others: { ...others, grants: [other] },
          },
          SHOWN_AT,
          columns,
        );
        for (const line of lines) {
          expect(line).not.toMatch(RAW);
          expect(widest(line)).toBeLessThanOrEqual(Math.max(columns, 60));
          expect(line).not.toMatch(/ $/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("shows exactly the body that is sent, to be read back from its lines", () => {
    fc.assert(
      fc.property(hostile, (body) => {
        const lines = showHold(answerWith({ document: { subject: callWith(body) }, body }), SHOWN_AT, COLUMNS);
        const start = lines.findIndex((line) => line.startsWith("  |"));
        const end = lines.findIndex((line, i) => i > start && !line.startsWith("  |"));
        expect(
          readBack(
            lines
              .slice(start, end)
              .map((line) => line.slice(4))
              .join(""),
          ),
        ).toBe(body);
      }),
      { numRuns: 500 },
    );
  });

  it("takes what is signed from the document, whatever the rest of the answer says", () => {
    const [signed] = shown(answerWith()).split("what the broker says beside it");
    const lie = {
      agent: "other",
      owner: "x",
      task: "harmless",
      role: "x",
      operation: "query me",
      reason: "x",
      permissions: [],
    };
    const { hold } = answerWith();
    const [again] = shown(answerWith({ rest: { hold: { ...hold, ...lie } } })).split("what the broker says beside it");
    expect(again).toBe(signed);
    expect(again).toContain("remove old uploads");
  });

  it("says of a line of text that imitates another fact where it belongs", () => {
    const text = shown(answerWith({ document: { reason: `x\n  digest       ${"0".repeat(64)}` } }));
    expect(text.match(/^ {2}digest/gm)).toHaveLength(1);
  });

  it("prints GraphQL line by line only where nothing of the body was dropped in parsing", () => {
    const title = "its GraphQL, line by line:";
    expect(shown(answerWith())).toContain(`${title}\n  | mutation {\n  |   volumeDelete(volumeId: "vol_1")\n  | }\n`);
    const twice = '{"query":"mutation { volumeDelete(volumeId: \\"a\\") }","query":"query { me { id } }"}';
    expect(shown(answerWith({ body: twice, document: { subject: callWith(twice) } }))).not.toContain(title);
    const batch = JSON.stringify([{ query: "query { a }" }, { query: "query { b }" }]);
    const text = shown(answerWith({ body: batch, document: { subject: callWith(batch) } }));
    expect(text.split(title)).toHaveLength(3);
  });

  it("says that characters beyond ASCII can look like others", () => {
    const body = '{"volumeId":"v\u043El"}';
    expect(shown(answerWith({ body, document: { subject: callWith(body) } }))).toContain(
      "it has 1 character beyond ASCII",
    );
  });

  it("says that a delay runs from the request where nobody has to sign", () => {
    const { requires } = documentWith().demands[0] ?? expect.unreachable();
    const unsigned = { permissions: [PERMISSION], requires: { ...requires, approvals: null } };
    expect(shown(answerWith({ document: { demands: [unsigned] } }))).toContain("a delay of 48h after the request,");
    // One delay for all of it: signatures of another demand begin it.
    const demands = [unsigned, { permissions: [PERMISSION], requires: { ...requires, delaySeconds: null } }];
    expect(shown(answerWith({ document: { demands } }))).toContain("a delay of 48h after the last signature,");
  });

  describe("of a backup that counts today", () => {
    const FRESH = "2026-11-22T11:50:00.000Z";
    const told = (hold: object, takenAt = FRESH, fault: string | null = null): string => {
      const { hold: own, backups } = answerWith();
      const rest = { hold: { ...own, ...hold }, backups: backups.map((backup) => ({ ...backup, takenAt, fault })) };
      return shown(answerWith({ rest })).replaceAll(/\n {15}/g, "");
    };
    const LATE = "it counts, and will be too old when this fires: a newer one is needed, taken after ";

    it("says that it will be too old where the delay that is left is longer than it may be old", () => {
      expect(told({})).toContain(`${LATE}2026-11-23T12:00:00.000Z`);
      const running = [{ kind: "delay", message: "x", until: "2026-11-23T18:00:00.000Z", delaySeconds: 172_800 }];
      const soon = { firesAt: "2026-11-23T18:00:00.000Z", missing: running };
      expect(told(soon)).toContain(`${LATE}2026-11-22T18:00:00.000Z`);
      const hours = [...running, { kind: "window", message: "x", opensAt: "2026-11-24T08:00:00.000Z" }];
      expect(told({ firesAt: null, missing: hours })).toContain(`${LATE}2026-11-23T08:00:00.000Z`);
    });

    it("says nothing of it where it is still fresh then, does not count anyway, or all is over", () => {
      const missing = [{ kind: "delay", message: "x", until: "2026-11-23T11:50:00.000Z", delaySeconds: 86_400 }];
      const firesAt = "2026-11-23T11:50:00.000Z";
      expect(told({ firesAt, missing })).toMatch(/it counts$/m);
      expect(told({ firesAt, missing }, "2026-11-22T11:49:59.999Z")).toContain(`${LATE}${FRESH}`);
      expect(told({}, FRESH, "it is elsewhere")).not.toContain("too old");
      expect(told({ state: "done", firesAt: null, missing: [] })).not.toContain("too old");
    });

    it("can be told of any times that a broker answers", () => {
      const seconds = fc.maxSafeInteger();
      fc.assert(
        fc.property(seconds, seconds, (delaySeconds, maxAgeSeconds) => {
          const { requires } = documentWith().demands[0] ?? expect.unreachable();
          const backup = { maxAgeSeconds, separateFrom: ["volume"], restoreTested: false };
          const demands = [{ permissions: [PERMISSION], requires: { ...requires, backup } }];
          const { hold, backups } = answerWith();
          const missing = [{ kind: "delay", message: "x", until: null, delaySeconds }];
          const rest = { hold: { ...hold, missing }, backups: backups.map((one) => ({ ...one, fault: null })) };
          expect(shown(answerWith({ document: { demands }, rest }))).toContain("it counts");
        }),
      );
    });
  });

  it("says when and by whom it ended", () => {
    const { hold } = answerWith();
    const ended = { state: "cancelled", endedBy: "security-1", endedAt: "2026-11-22T10:00:00.000Z" };
    const text = shown(answerWith({ rest: { hold: { ...hold, ...ended, missing: [], firesAt: null } } }));
    expect(text).toMatch(/^ {2}state {8}cancelled by security-1$/m);
    expect(text).toMatch(/^ {2}ended {8}2h ago, 2026-11-22T10:00:00\.000Z$/m);
    expect(shown(answerWith())).not.toMatch(/^ {2}ended/m);
  });

  it("names every requirement and every backup, and says where none was looked for", () => {
    const { requires } = documentWith().demands[0] ?? expect.unreachable();
    const demands = [{ permissions: [PERMISSION], requires: { ...requires, backup: null } }];
    expect(shown(answerWith({ document: { demands } }))).toContain("none is required, so none was looked for");
    expect(shown(answerWith({ rest: { backups: [] } }))).toContain("nobody has attested one");
    const teams = Array.from({ length: 40 }, (_, i) => `team-${i}`);
    const many = [
      {
        permissions: [PERMISSION],
        requires: { ...requires, approvals: { count: 2, from: teams, perTeam: false } },
      },
    ];
    const text = shown(answerWith({ document: { demands: many } })).replaceAll(/\n\s+/g, " ");
    for (const team of teams) expect(text).toContain(team);
  });

  it("says what a grant gives, for how long, and that nobody is asked again", () => {
    const subject = {
      kind: "grant",
      credential: "jwt",
      ttlSeconds: 600,
      credentialTtlSeconds: 300,
      crossingFrom: ["staging"],
      providerPolicy: null,
      cnf: null,
    } as const;
    const text = shown(answerWith({ document: { subject }, body: null })).replaceAll(/\n\s+/g, " ");
    expect(text).toContain("a grant for 10m, each jwt of it for 5m");
    expect(text).toContain("nobody is asked again");
    expect(text).toContain("out of staging");
  });

  it("shows all that another system's credential will allow, with odd characters written out", () => {
    const providerPolicy = {
      kind: "postgres",
      address: "postgres://db.example:5432/shop",
      roles: ["shop_migrator", "shop\u202ereader"],
      owner: "shop_migrator",
      connections: 7,
      statementTimeoutMs: 60_000,
    } as const;
    const common = {
      kind: "grant",
      ttlSeconds: 600,
      credentialTtlSeconds: 300,
      crossingFrom: null,
      cnf: null,
    } as const;
    const subject = { ...common, credential: "postgres", providerPolicy } as const;
    const text = shown(answerWith({ document: { subject }, body: null })).replaceAll(/\n\s+/g, " ");
    expect(text).toContain("a grant for 10m, each postgres of it for 10m");
    for (const part of [
      "postgres://db.example:5432/shop",
      "member of",
      "acts as shop_migrator",
      "7 connections",
      "60000 ms",
    ])
      expect(text).toContain(part);
    expect(text).not.toContain("\u202e");
    expect(text).toContain("202e");
  });

  it("shows all that an AWS session will allow, each action and ARN on a line of its own", () => {
    const statements = [
      {
        actions: ["s3:DeleteObject", "s3:GetObject"],
        resources: ["arn:aws:s3:::shop-uploads/a", "arn:aws:s3:::shop/b"],
      },
    ];
    const address = "arn:aws:iam::123456789012:role/shop-agents";
    const providerPolicy = { kind: "aws", address, region: "eu-central-1", statements } as const;
    const common = {
      kind: "grant",
      ttlSeconds: 600,
      credentialTtlSeconds: 300,
      crossingFrom: null,
      cnf: null,
    } as const;
    const subject = { ...common, credential: "aws", providerPolicy } as const;
    const text = shown(answerWith({ document: { subject }, body: null })).replaceAll(/ +/g, " ");
    for (const part of [
      "there sessions of arn:aws:iam::123456789012:role/shop-agents, region eu-central-1",
      "may s3:DeleteObject\n s3:GetObject",
      "on arn:aws:s3:::shop-uploads/a\n arn:aws:s3:::shop/b",
    ])
      expect(text).toContain(part);
  });

  it.each([
    [0, "0s"],
    [40_999, "40s"],
    [60_000, "1m"],
    [3_600_000, "1h"],
    [47 * 3_600_000 + 12 * 60_000 + 59_000, "47h 12m"],
    [72 * 3_600_000, "3d"],
    [6 * 86_400_000 + 23 * 3_600_000, "6d 23h"],
    [-1, "0s"],
  ])("says %i ms as %s", (ms, text) => {
    expect(formatSpan(ms)).toBe(text);
  });
});
