// The contract of every kind of credential that other systems accept: it works, it is bounded by its policy, it is dead when
// it is ended, ending twice or ending what never was is fine, and what was half made is cleared away.

import { describe, expect, it } from "vitest";
import type { ProviderPolicy } from "../../src/core/hold-document.ts";
import type { CredentialSystem, Login, Order } from "../../src/credentials/credential-system.ts";

/** What a kind is tried with: a real server, and an agent of it. */
export interface Tried {
  readonly system: CredentialSystem;
  /** Gives reading and nothing else. */
  readonly reading: ProviderPolicy;
  /** Gives what the server does not have, or takes. */
  readonly impossible: ProviderPolicy;
  /** What an agent is told that is not let in. */
  readonly refusal: RegExp;
  /** As the agent: may it read, may it change? Rejects where it is not let in. */
  use(login: Login): Promise<{ readonly reads: boolean; readonly changes: boolean }>;
  /** As the agent: comes in, and answers whether it is in still, each time that it is asked. */
  stay(login: Login): Promise<() => Promise<boolean>>;
  /** What is there of handles that begin so. */
  left(prefix: string): Promise<readonly string[]>;
}

export const PREFIX = "vk_contract_";
export const ENDS_IN_MS = 60_000;

let made = 0;

export function orderOf(policy: ProviderPolicy): Order {
  const subject = { grant: "grt_0", agent: "coder", task: "a test", environments: ["staging"] };
  return { handle: `${PREFIX}${++made}`, policy, endsInMs: ENDS_IN_MS, subject, note: "a test" };
}

export function describeCredentialSystem(name: string, tried: () => Tried): void {
  describe(`credentials of ${name}`, { timeout: 60_000 }, () => {
    const order = (): Order => orderOf(tried().reading);
    async function end(handle: string): Promise<void> {
      await tried().system.end(handle, ENDS_IN_MS);
      await tried().system.clear(handle);
    }

    it("work, and are bounded by their policy", async () => {
      const asked = order();
      const { login } = await tried().system.make(asked);
      expect(await tried().use(login)).toEqual({ reads: true, changes: false });
      await end(asked.handle);
    });

    it("are dead when they are ended, for who comes and for who is in", async () => {
      const asked = order();
      const { login } = await tried().system.make(asked);
      const isIn = await tried().stay(login);
      expect(await isIn()).toBe(true);
      expect(await tried().system.end(asked.handle, ENDS_IN_MS)).toBeNull();
      expect(await isIn()).toBe(false);
      await expect(tried().use(login)).rejects.toThrow(tried().refusal);
      await tried().system.clear(asked.handle);
      expect(await tried().left(asked.handle)).toEqual([]);
      await expect(tried().use(login)).rejects.toThrow(tried().refusal);
    });

    it("end one at a time: those of other grants stay", async () => {
      const [one, other] = [order(), order()];
      const { login } = await tried().system.make(one);
      const { login: others } = await tried().system.make(other);
      await end(one.handle);
      await expect(tried().use(login)).rejects.toThrow(tried().refusal);
      expect(await tried().use(others)).toMatchObject({ reads: true });
      await end(other.handle);
    });

    it("can be ended twice, cleared twice, and where they never were", async () => {
      const asked = order();
      await tried().system.make(asked);
      await end(asked.handle);
      await end(asked.handle);
      await end(`${PREFIX}never`);
      expect(await tried().left(PREFIX)).toEqual([]);
    });

    it("are made again with another secret, and end all together", async () => {
      const asked = order();
      const { login: first } = await tried().system.make(asked);
      const { login: second } = await tried().system.make(asked);
      expect(secretOf(second)).not.toBe(secretOf(first));
      expect(await tried().use(second)).toMatchObject({ reads: true });
      await end(asked.handle);
      await expect(tried().use(first)).rejects.toThrow(tried().refusal);
      await expect(tried().use(second)).rejects.toThrow(tried().refusal);
    });

    it("leave nothing where they cannot be made", async () => {
      const asked = orderOf(tried().impossible);
      await expect(tried().system.make(asked)).rejects.toMatchObject({ code: "upstream_failed" });
      expect(await tried().left(asked.handle)).toEqual([]);
      await end(asked.handle);
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

function secretOf(login: Login): string {
  return login.kind === "postgres" ? login.password : login.secretAccessKey;
}
