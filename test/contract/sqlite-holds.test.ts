// Runs the contracts of holds, held grants, statements and webhook cursors against the embedded engine, and holds it to
// its size: many that wait cost nothing where few are looked for.

import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { activate, cut, grantFrom, T0 } from "./drafts.ts";
import { heldCall, WEEK } from "./held-drafts.ts";
import { describeHeldGrants } from "./held-grants-contract.ts";
import { describeHeldRules } from "./held-rules-contract.ts";
import { describeHoldPort } from "./holds-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeHoldPort("SQLite", openSqlite);
describeHeldGrants("SQLite", openSqlite);
describeHeldRules("SQLite", openSqlite);

const MANY = 20_000;
/** As many as the recursion makes, each with an id after the first one's. */
const COPY = `
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY})
INSERT INTO holds SELECT substr(id, 1, 24) || printf('%06d', i), 'agent-' || (i % 7), 'a crowd', upstream, grant_id, id || i,
  state, state_at, ended_by, why, wake_at + i, lease_token, lease_until, readable, version, outcome,
  replace(draft, id, substr(id, 1, 24) || printf('%06d', i)), sealed_request, sealed_outcome FROM holds, n`;

describe("a crowd of holds in SQLite", { timeout: 60_000 }, () => {
  it("lets the few be found that are looked for, and a cut-off be written down for all", async () => {
    const opened = await openSqlite();
    await activate(opened.port);
    const grant = await grantFrom(opened.port, T0);
    await heldCall(opened.port, T0 + 1, grant);
    await opened.port.close();
    const db = new DatabaseSync(opened.file);
    db.exec(COPY);
    db.close();

    const port = await opened.reopen();
    const rare = await heldCall(port, T0 + 2, grant, { task: "rare" });
    expect(await port.dueHolds(T0 + WEEK, 10)).toEqual([]);
    expect((await port.dueHolds(T0 + 1 + WEEK, 10)).length).toBe(1);
    expect((await port.dueHolds(T0 + 2 * WEEK, 10)).length).toBe(10);
    const oldest = await port.listHolds({ task: "fix the checkout" }, 10);
    expect(oldest.map(({ hold }) => hold.document.task)).toEqual(["fix the checkout"]);
    expect((await port.listHolds({ task: "rare", states: ["waiting"] }, 10)).map(({ hold }) => hold.id)).toEqual([
      rare.id,
    ]);
    expect(await port.listHolds({ task: "none" }, 10)).toEqual([]);
    expect((await port.listHolds({}, MANY * 2)).length).toBe(MANY + 2);

    await cut(port, T0 + 3, { task: "rare" });
    expect((await port.voidedHolds(null, 10)).map(({ hold }) => hold.id)).toEqual([rare.id]);
    await cut(port, T0 + 4, { everything: true });
    let walked = 0;
    for (let page = await port.voidedHolds(null, 5000); page.length > 0;) {
      walked += page.length;
      page = await port.voidedHolds(page.at(-1)?.hold.id ?? null, 5000);
    }
    expect(walked).toBe(MANY + 2);
    await opened.close();
  });
});
