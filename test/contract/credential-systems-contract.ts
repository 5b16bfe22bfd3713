// The contract of every kind of credential that other systems accept: it works, it is bounded by its policy, it is dead when
// it is ended, ending twice or ending what never was is fine, and what was half made is cleared away.

import { describe, expect, it } from "vitest";
import type { ProviderPolicy } from "../../src/core/hold-document.ts";
import type { CredentialSystem, Login } from "../../src/credentials/credential-system.ts";

/** What a kind is tried with: a real server, and an agent of it. */
export interface Tried {
  readonly system: CredentialSystem;
  /** Gives reading and nothing else. */
  readonly reading: ProviderPolicy;
  /** Gives what the server does not have. */
  readonly impossible: ProviderPolicy;
  /** As the agent: may it read, may it change? Rejects where it is not let in. */
  use(login: Login): Promise<{ readonly reads: boolean; readonly changes: boolean }>;
  /** As the agent: comes in, and answers whether it is in still, each time that it is asked. */
  stay(login: Login): Promise<() => Promise<boolean>>;
  /** What is there of handles that begin so. */
  left(prefix: string): Promise<readonly string[]>;
}

const PREFIX = "vk_contract_";

export function describeCredentialSystem(name: string, tried: () => Tried): void {
  describe(`credentials of ${name}`, { timeout: 60_000 }, () => {
    let made = 0;
    const order = (changes: Partial<Parameters<CredentialSystem["make"]>[0]> = {}) => {
      const handle = `${PREFIX}${++made}`;
      return { handle, policy: tried().reading, endsInMs: 60_000, note: "a test", ...changes };
    };
    async function end(handle: string): Promise<void> {
      await tried().system.end(handle);
      await tried().system.clear(handle);
    }

    it("work, and are bounded by their policy", async () => {
      const asked = order();
      const login = await tried().system.make(asked);
      expect(await tried().use(login)).toEqual({ reads: true, changes: false });
      await end(asked.handle);
    });

    it("are dead when they are ended, for who comes and for who is in", async () => {
      const asked = order();
      const login = await tried().system.make(asked);
      const isIn = await tried().stay(login);
      expect(await isIn()).toBe(true);
      await tried().system.end(asked.handle);
      expect(await isIn()).toBe(false);
      await expect(tried().use(login)).rejects.toThrow(/authentication|not permitted/);
      await tried().system.clear(asked.handle);
      expect(await tried().left(asked.handle)).toEqual([]);
      await expect(tried().use(login)).rejects.toThrow(/authentication|not permitted/);
    });

    it("can be ended twice, cleared twice, and where they never were", async () => {
      const asked = order();
      await tried().system.make(asked);
      await end(asked.handle);
      await end(asked.handle);
      await end(`${PREFIX}never`);
      expect(await tried().left(PREFIX)).toEqual([]);
    });

    it("are made again with another secret, while who is in stays", async () => {
      const asked = order();
      const first = await tried().system.make(asked);
      const isIn = await tried().stay(first);
      const second = await tried().system.make(asked);
      expect(second.password).not.toBe(first.password);
      await expect(tried().use(first)).rejects.toThrow(/authentication|not permitted/);
      expect(await tried().use(second)).toMatchObject({ reads: true });
      expect(await isIn()).toBe(true);
      await end(asked.handle);
    });

    it("leave nothing where they cannot be made", async () => {
      const asked = order({ policy: tried().impossible });
      await expect(tried().system.make(asked)).rejects.toMatchObject({ code: "upstream_failed" });
      expect(await tried().left(asked.handle)).toEqual([]);
      await end(asked.handle);
    });

    it("are listed by how their handles begin, in pages", async () => {
      const asked = Array.from({ length: 5 }, () => order());
      await Promise.all(asked.map((each) => tried().system.make(each)));
      const all = asked.map(({ handle }) => handle).toSorted();
      expect(await tried().system.list(PREFIX, "", 10)).toEqual(all);
      expect(await tried().system.list(PREFIX, "", 2)).toEqual(all.slice(0, 2));
      expect(await tried().system.list(PREFIX, all[1] ?? "", 10)).toEqual(all.slice(2));
      expect(await tried().system.list("vk_other_", "", 10)).toEqual([]);
      await Promise.all(all.map(end));
    });

    it("are made and ended by many at once, and none is left over", async () => {
      const asked = Array.from({ length: 20 }, () => order());
      await Promise.all(
        asked.map(async (each) => {
          await tried().system.make(each);
          await end(each.handle);
        }),
      );
      expect(await tried().left(PREFIX)).toEqual([]);
    });
  });
}
