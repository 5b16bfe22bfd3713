// Credentials at other systems in Redis beyond the contract: several brokers, and rows that go while they are listed. A page
// that is not full ends a walk, so nothing that goes meanwhile may shorten one.

import { describe, expect, it } from "vitest";
import type { GrantId } from "../../src/core/ids.ts";
import type { CredentialPort, StoredCredential } from "../../src/credentials/credential-port.ts";
import type { StoredGrant } from "../../src/grants/grant-port.ts";
import { createCredentialPort } from "../../src/store/redis/credentials.ts";
import { activate, eventOf, grantFrom, MINUTE, POLICY, T0 } from "./drafts.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

useRedis();

function order(port: CredentialPort, { id, agent, task, role, upstream, endsAt }: StoredGrant, dueAt = T0 + MINUTE) {
  const place = { handle: `vk_${id}`, address: "postgres://db:5432/shop", policy: "p".repeat(64), dueAt };
  const credential = { grant: id, agent, task, role, upstream, kind: "postgres", endsAt, ...place } as const;
  const event = eventOf("credential.ordered");
  return port.orderCredential({ at: T0 + 1, agent, policyDigest: POLICY, credential, event });
}

async function orderMany(port: Parts, count: number): Promise<readonly GrantId[]> {
  const ids: GrantId[] = [];
  for (let i = 0; i < count; i++) {
    const grant = await grantFrom(port, T0);
    await order(port, grant, T0 + MINUTE + i);
    ids.push(grant.id);
  }
  return ids.toSorted();
}

/** The port of one broker; before it reads rows whose ids it knows, `act` is done, once. */
function interrupted({ client, scripts, base }: Parts, act: () => Promise<unknown>): CredentialPort {
  let isDone = false;
  const hmget = async (key: string, ...fields: string[]) => {
    if (!isDone) {
      isDone = true;
      await act();
    }
    return client.hmget(key, ...fields);
  };
  const between = new Proxy(client, {
    get: (of, name): unknown => (name === "hmget" ? hmget : Reflect.get(of, name, of)),
  });
  return createCredentialPort(between, scripts, base);
}

async function change(port: CredentialPort, grant: GrantId, to: Partial<StoredCredential> | null): Promise<void> {
  const row = await port.findCredential(grant);
  if (row === null) throw new Error("expected it to be there");
  const { version } = row;
  const changed = to === null ? null : { ...row, ...to };
  const done = await port.changeCredential({
    at: T0 + 2,
    grant,
    version,
    to: changed,
    endGrantBy: null,
    event: null,
  });
  expect(done.outcome).toBe("changed");
}

describe("credentials of several brokers in Redis", { timeout: 30_000 }, () => {
  it("are ordered once, whoever is asked", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const grant = await grantFrom(one, T0);
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => order(i % 2 === 0 ? one : other, grant)));
      expect(answers.filter(({ outcome }) => outcome === "ordered")).toHaveLength(1);
      expect(answers.filter(({ outcome }) => outcome === "busy")).toHaveLength(19);
    });
  });

  it("fill a page of the list when some of it go while it is read", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const ids = await orderMany(one, 6);
      const gone = ids.slice(1, 3);
      const port = interrupted(one, () => Promise.all(gone.map((id) => change(other, id, null))));
      const page = await port.listCredentials(null, 4);
      expect(page.map(({ grant }) => grant)).toEqual([ids[0], ...ids.slice(3)]);
    });
  });

  it("are listed after a page of which all go while it is read", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const ids = await orderMany(one, 5);
      const port = interrupted(one, () => Promise.all(ids.slice(0, 3).map((id) => change(other, id, null))));
      expect((await port.listCredentials(null, 3)).map(({ grant }) => grant)).toEqual(ids.slice(3));
    });
  });

  it("are not told as due when they are put off while what is due is read", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const ids = await orderMany(one, 3);
      const [first] = await one.dueCredentials(T0 + 2 * MINUTE, 1);
      if (first === undefined) throw new Error("expected one that is due");
      const port = interrupted(one, () => change(other, first.grant, { dueAt: T0 + 9 * MINUTE }));
      const due = (await port.dueCredentials(T0 + 2 * MINUTE, 10)).map(({ grant }) => grant);
      expect(due.toSorted()).toEqual(ids.filter((id) => id !== first.grant));
    });
  });
});
