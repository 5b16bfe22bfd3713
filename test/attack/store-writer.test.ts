// Who can write the store's file but has no master key: what the broker signs must follow from policy, not from rows.

import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startTestBroker } from "../support/broker.ts";

const BODY = { task: "t", permissions: [{ action: "domain:write", resource: "shop-staging:service/web" }] };

it("cannot turn a staging grant into a production credential, nor lengthen it, by editing its row", async () => {
  let broker = await startTestBroker();
  try {
    const edits = [
      `UPDATE grants SET permissions = '[{"action":"domain:write","resource":"shop-production:service/web","environments":["production"]}]', environments = '["production"]', upstream = 'shop-production'`,
      `UPDATE grants SET permissions = '[{"action":"volume:delete","resource":"shop-staging:volume/uploads","environments":["staging"]}]'`,
      "UPDATE grants SET ttl_seconds = 31536000, ends_at = ends_at + 31536000000",
      "UPDATE grants SET ends_at = ends_at + 31536000000",
    ];
    for (const edit of edits) {
      const given = await broker.as("coder").call("requestGrant", { body: BODY });
      if (!("credential" in given)) throw new Error("expected a credential");
      await broker.broker.close();
      const db = new DatabaseSync(join(broker.folder, ".valetkey/broker.db"));
      db.exec(`${edit} WHERE id = '${given.grant.id}'`);
      db.close();
      broker = await broker.restart();
      const renewal = broker.as("coder").call("renewCredential", { params: { id: given.grant.id } });
      await expect(renewal, edit).rejects.toMatchObject({ status: 403 });
    }
  } finally {
    await broker.close();
  }
});
