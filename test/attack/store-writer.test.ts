// Who can write the store but has no master key: what the broker signs must follow from policy, not from rows.

import { expect, it } from "vitest";
import { startTestBroker } from "../support/broker.ts";
import { type Rows, tamperWith } from "../support/tampered-store.ts";

const BODY = { task: "t", permissions: [{ action: "domain:write", resource: "shop-staging:service/web" }] };

const YEAR_MS = 31_536_000_000;
const listOf = (resource: string, action: string, environment: string): string =>
  `[{"action":"${action}","resource":"${resource}","environments":["${environment}"]}]`;
const PRODUCTION = listOf("shop-production:service/web", "domain:write", "production");
const DELETION = listOf("shop-staging:volume/uploads", "volume:delete", "staging");
const longer = (text: string): string => String(Number(text) + YEAR_MS);

interface Edit {
  /** Of `UPDATE grants SET`. */
  readonly sql: string;
  readonly redis: (rows: Rows, grant: string) => Promise<void>;
}

/** In the row of a grant: what scripts decide by, and the texts that brokers read. */
const inTexts = async (
  rows: Rows,
  grant: string,
  change: (draft: Record<string, unknown>) => object,
): Promise<void> => {
  for (const field of ["draft", "look"]) {
    // The store's own texts are objects.
    const edit = (text: string): string => JSON.stringify(change(JSON.parse(text) as Record<string, unknown>));
    await rows.change(grant, field, edit);
  }
};

const EDITS: readonly Edit[] = [
  {
    sql: `permissions = '${PRODUCTION}', environments = '["production"]', upstream = 'shop-production'`,
    redis: async (rows, grant) => {
      const of = { environments: ["production"], upstream: "shop-production" };
      await rows.change(grant, "environments", () => '["production"]');
      await rows.change(grant, "upstream", () => of.upstream);
      await inTexts(rows, grant, (draft) => ({ ...draft, ...of, permissions: JSON.parse(PRODUCTION) as unknown }));
    },
  },
  {
    sql: `permissions = '${DELETION}'`,
    redis: (rows, grant) =>
      inTexts(rows, grant, (draft) => ({ ...draft, permissions: JSON.parse(DELETION) as unknown })),
  },
  {
    sql: `ttl_seconds = 31536000, ends_at = ends_at + ${YEAR_MS}`,
    redis: async (rows, grant) => {
      await rows.change(grant, "ttl_seconds", () => "31536000");
      await rows.change(grant, "ends_at", longer);
      await inTexts(rows, grant, (draft) => ({ ...draft, ttlSeconds: 31_536_000 }));
    },
  },
  {
    sql: `ends_at = ends_at + ${YEAR_MS}`,
    redis: (rows, grant) => rows.change(grant, "ends_at", longer),
  },
];

it("cannot turn a staging grant into a production credential, nor lengthen it, by editing its row", async () => {
  let broker = await startTestBroker();
  try {
    for (const { sql, redis } of EDITS) {
      const given = await broker.as("coder").call("requestGrant", { body: BODY });
      if (!("credential" in given)) throw new Error("expected a credential");
      const { id } = given.grant;
      await broker.broker.close();
      await tamperWith(broker, {
        sql: [`UPDATE grants SET ${sql} WHERE id = '${id}'`],
        redis: (rows) => redis(rows, `grant:${id}`),
      });
      broker = await broker.restart();
      const renewal = broker.as("coder").call("renewCredential", { params: { id } });
      await expect(renewal, sql).rejects.toMatchObject({ status: 403 });
    }
  } finally {
    await broker.close();
  }
});
