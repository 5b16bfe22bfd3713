// Who makes and ends credentials at other systems, and what it takes for nobody's: with a real store, and a system that a test plays.

import { describe, expect, it, onTestFinished, vi } from "vitest";
import { digestOf } from "../../src/core/canonical-json.ts";
import { BrokerError } from "../../src/core/errors.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { newId } from "../../src/core/ids.ts";
import type { CredentialSystem, Made } from "../../src/credentials/credential-system.ts";
import type { Systems } from "../../src/credentials/systems.ts";
import { createCredentialEnder } from "../../src/grants/end-credentials.ts";
import type { StoredGrant } from "../../src/grants/grant-port.ts";
import { type CredentialOrder, handlePrefix, makeCredential } from "../../src/grants/provider-credentials.ts";
import { deriveProviderPolicy } from "../../src/policy/provider-policy.ts";
import { eventOf, grantFrom, release } from "../contract/drafts.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import type { ScopeSet } from "../../src/scopes/scope-set.ts";
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

const PERMISSION = { action: "data:read", resource: "db:database/db", environments: ["staging"] };
const LOGIN = {
  kind: "postgres",
  host: "db",
  port: 5432,
  database: "db",
  user: "x",
  password: "x",
  tls: true,
  ca: null,
} as const;

interface Played {
  /** What the system has, each time that it is asked. */
  readonly listed?: readonly (readonly string[])[];
  readonly isOurs?: boolean;
  readonly make?: () => Promise<Made>;
  readonly end?: () => Promise<null>;
}

function load(text: string): ScopeSet {
  const built = buildWith(text);
  if (!("set" in built)) throw new Error(problemsOf(built).join("\n"));
  return built.set;
}

async function open({ listed = [], isOurs = true, make, end }: Played) {
  const set = load(UPSTREAM);
  let inForce = set;
  const store = await openSqlite();
  onTestFinished(() => store.close());
  const done: string[] = [];
  let looks = 0;
  const system: CredentialSystem = {
    make: make ?? (({ handle }) => Promise.resolve((done.push(`make ${handle}`), { login: LOGIN, lastsMs: null }))),
    end: (handle) => (done.push(`end ${handle}`), end === undefined ? Promise.resolve(null) : end()),
    clear: (handle) => Promise.resolve(void done.push(`clear ${handle}`)),
    list: () => Promise.resolve(listed[looks++] ?? []),
    examine: () => Promise.resolve({ faults: [], notes: [] }),
    close: () => Promise.resolve(),
  };
  const systems: Systems = {
    of: () => system,
    examine: () => Promise.resolve(),
    status: () => [],
    close: () => Promise.resolve(),
  };
  const wall = createTestClock();
  const [clock, policy] = [createGuardedClock(wall), () => inForce];
  const { port } = store;
  await port.activatePolicy({ at: clock.at(), digest: set.digest, event: eventOf("policy.activated") });
  const world = { issuer: ISSUER, port, clock, policy, systems };
  const ender = createCredentialEnder({
    ...world,
    record: port,
    wall,
    isOurs: () => Promise.resolve(isOurs),
    isAlone: true,
    log: () => undefined,
  });
  onTestFinished(() => ender.close());
  const types = async (): Promise<readonly string[]> =>
    (await port.read(0, 100)).map((entry) => /"type":"([a-z.]+)"/.exec(entry)?.[1] ?? "");
  const give = () =>
    grantFrom(port, clock.at(), { upstream: "db", permissions: [PERMISSION], policyDigest: set.digest });
  const derived = deriveProviderPolicy("db", [{ action: "data:read", resource: { id: "db:database/db" } }], set);
  const [own] = [derived.policy].filter((found) => found?.kind === "postgres");
  if (own === undefined) throw new Error("expected a policy of PostgreSQL's");
  const credential = (grant: StoredGrant, changes: Partial<CredentialOrder> = {}) =>
    makeCredential(
      { ...world, onEnding: () => ender.sweep() },
      {
        grant,
        credential: newId("crd", clock.at()),
        policy: own,
        request: newId("req", clock.at()),
        isFirst: false,
        ...changes,
      },
    );
  const adopt = (text: string): void => void (inForce = load(text));
  return { ender, adopt, port, clock, wall, done, types, looks: () => looks, give, credential, own };
}

describe("the end of credentials that no grant has", () => {
  it("is on record before it is done", async () => {
    const { done, types } = await open({ listed: [[HANDLE], [HANDLE]] });
    await vi.waitFor(() => expect(done).toEqual([`end ${HANDLE}`, `clear ${HANDLE}`]));
    expect(await types()).toContain("credential.orphaned");
  });

  it("is of none that went with its row since it was listed", async () => {
    const { done, types, looks } = await open({ listed: [[HANDLE], []] });
    await vi.waitFor(() => expect(looks()).toBeGreaterThanOrEqual(2));
    expect([done, await types()]).toEqual([[], ["policy.activated"]]);
  });

  it("is of another handle of the same grant, too", async () => {
    const listed: string[][] = [[]];
    const { ender, done, give, credential } = await open({ listed });
    const grant = await give();
    await credential(grant);
    const other = `${handlePrefix(ISSUER, "db")}${grant.id.slice(4).toLowerCase()}_xxxxxxxx`;
    listed.push([other], [other]);
    ender.adopt();
    await vi.waitFor(() => expect(done.slice(1)).toEqual([`end ${other}`, `clear ${other}`]));
  });
});

describe("the credential of a grant", () => {
  it("stays as wide as it was first made: another definition takes a new grant", async () => {
    const { port, done, give, credential, own } = await open({});
    const grant = await give();
    await credential(grant);
    await expect(credential(grant, { policy: { ...own, roles: ["writer"] } })).rejects.toThrow(
      "definition has changed since the grant",
    );
    expect(done).toHaveLength(1);
    expect(await port.findCredential(grant.id)).toMatchObject({ state: "live", policy: digestOf(own) });
  });

  it("stays where another one could not be made", async () => {
    let tries = 0;
    const make = (): Promise<Made> =>
      tries++ === 0
        ? Promise.resolve({ login: LOGIN, lastsMs: null })
        : Promise.reject(new BrokerError("upstream_failed", "not now"));
    const { port, done, types, give, credential } = await open({ make });
    const grant = await give();
    await credential(grant);
    await expect(credential(grant)).rejects.toThrow("not now");
    expect(await types()).toContain("credential.failed");
    expect(await port.findCredential(grant.id)).toMatchObject({ state: "live", dueAt: grant.endsAt });
    expect(done).toEqual([]);
  });

  it("is marked as over by whatever broker hears of it, and ended by the one whose turn it is", async () => {
    const { ender, port, clock, done, give, credential } = await open({ isOurs: false });
    const grant = await give();
    await credential(grant);
    await release(port, clock.at(), grant);
    ender.look(grant.id);
    await vi.waitFor(async () => expect((await port.findCredential(grant.id))?.state).toBe("ending"));
    ender.look(grant.id);
    await new Promise((settle) => setTimeout(settle, 50));
    expect(done).toHaveLength(1);
  });

  it("is ended where it is, and not where its upstream leads by now", async () => {
    const { ender, adopt, port, clock, done, give, credential } = await open({});
    const grant = await give();
    await credential(grant);
    adopt(UPSTREAM.replace("db.example.com", "other.example.com"));
    await release(port, clock.at(), grant);
    ender.look(grant.id);
    await vi.waitFor(async () =>
      expect((await port.findCredential(grant.id))?.failure).toContain("upstream db leads elsewhere"),
    );
    expect(done).toHaveLength(1);
  });

  it("is on record as not known to be dead once, however often it is tried", async () => {
    const end = (): Promise<null> => Promise.reject(new BrokerError("upstream_failed", "not now"));
    const { ender, port, clock, wall, done, types, give, credential } = await open({ end });
    const grant = await give();
    await credential(grant);
    await release(port, clock.at(), grant);
    await vi.waitFor(
      () => {
        wall.advance(5000);
        ender.look(grant.id);
        expect(done.length).toBeGreaterThan(4);
      },
      { interval: 20 },
    );
    expect((await types()).filter((type) => type === "credential.unconfirmed")).toHaveLength(1);
    expect((await port.findCredential(grant.id))?.failure).toBe("not now");
  });
});
