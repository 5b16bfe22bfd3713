// Who ends credentials at other systems, and what it takes for nobody's: with a real store, and a system that a test plays.

import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import type { CredentialSystem } from "../../src/credentials/credential-system.ts";
import type { Systems } from "../../src/credentials/systems.ts";
import { createCredentialEnder } from "../../src/grants/end-credentials.ts";
import { handlePrefix } from "../../src/grants/provider-credentials.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import { buildWith, problemsOf } from "../support/scopes-text.ts";
import { createTestClock } from "../support/test-clock.ts";

const ISSUER = "https://broker.example";
const HANDLE = `${handlePrefix(ISSUER, "db")}01m84dnw62sv71by26zxsdnnp4_xxxxxxxx`;
const UPSTREAM = `kind: Upstream
name: db
type: postgres
environment: staging
origin: postgres://db.example.com:5432
database: db
credential: { user: valetkey, secret: db-broker }
actions: { data:read: { risk: read } }
templates: [{ action: data:read, resource: database/db, role: reader }]
`;

/** An ender whose system has these handles, each time that it is asked. */
async function open(...answers: readonly (readonly string[])[]) {
  const built = buildWith(UPSTREAM);
  if (!("set" in built)) throw new Error(problemsOf(built).join("\n"));
  const { set } = built;
  const store = await openSqlite();
  onTestFinished(() => store.close());
  const done: string[] = [];
  let looks = 0;
  const system: CredentialSystem = {
    make: () => Promise.reject(new Error("nothing is made here")),
    end: (handle) => Promise.resolve((done.push(`end ${handle}`), null)),
    clear: (handle) => Promise.resolve(void done.push(`clear ${handle}`)),
    list: () => Promise.resolve(answers[looks++] ?? []),
    examine: () => Promise.resolve({ faults: [], notes: [] }),
    close: () => Promise.resolve(),
  };
  const systems: Systems = {
    of: () => system,
    examine: () => Promise.resolve(),
    status: () => [],
    close: () => Promise.resolve(),
  };
  const ender = createCredentialEnder({
    issuer: ISSUER,
    port: store.port,
    record: store.port,
    clock: createGuardedClock(createTestClock()),
    wall: createTestClock(),
    policy: () => set,
    systems,
    isOurs: () => Promise.resolve(true),
    isAlone: true,
    log: () => undefined,
  });
  onTestFinished(() => ender.close());
  const types = async (): Promise<readonly string[]> =>
    (await store.port.read(0, 100)).map((entry) => /"type":"([a-z.]+)"/.exec(entry)?.[1] ?? "");
  return { done, types, looks: () => looks };
}

describe("the end of credentials that no grant has", () => {
  it("is on record before it is done", async () => {
    const { done, types } = await open([HANDLE], [HANDLE]);
    await vi.waitFor(() => expect(done).toEqual([`end ${HANDLE}`, `clear ${HANDLE}`]));
    expect(await types()).toContain("credential.orphaned");
  });

  it("is of none that went with its row since it was listed", async () => {
    const { done, types, looks } = await open([HANDLE], []);
    await vi.waitFor(() => expect(looks()).toBeGreaterThanOrEqual(2));
    expect([done, await types()]).toEqual([[], []]);
  });
});
