// A disk that is full in the middle of work: what cannot be recorded is refused, what was answered is kept, reads go on,
// and the broker works again when there is room. The kernel's own file size limit stands for the full disk.

import { describe, expect, it } from "vitest";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { makeTestFolder } from "../support/test-folder.ts";

const BODY = { task: "t", permissions: [{ action: "volume:read", resource: "shop-staging:volume/uploads" }] };
/** Room for a start and for some grants, not for two thousand. */
const FILE_SIZE_LIMIT = 900_000;
const MOST_ASKED = 2000;

describe("a full disk", () => {
  it("refuses with store_unavailable and loses nothing that was answered", { timeout: 120_000 }, async () => {
    const folder = await makeTestFolder();
    const clients = (broker: BrokerProcess) => ({
      agent: createApiClient({ url: broker.url, name: "coder", key: folder.keyOf("coder") }),
      security: createApiClient({ url: broker.url, name: "security-1", key: folder.keyOf("security-1") }),
    });
    let broker = await startBrokerProcess(folder.path, {}, ["prlimit", `--fsize=${FILE_SIZE_LIMIT}`]);
    try {
      const { agent, security } = clients(broker);
      const answered: string[] = [];
      let refusal: unknown = null;
      for (let asked = 0; refusal === null && asked < MOST_ASKED; asked++) {
        try {
          const given = await agent.call("requestGrant", { body: BODY });
          if ("credential" in given) answered.push(given.grant.id);
        } catch (error) {
          refusal = error;
        }
      }
      expect(refusal).toMatchObject({ code: "store_unavailable", status: 503 });
      expect(answered.length).toBeGreaterThan(0);
      // Security can still read what happened.
      expect((await security.call("readRecord", { query: { limit: 10 } })).text).toContain("broker.started");
      await broker.end("SIGTERM");

      broker = await startBrokerProcess(folder.path);
      const again = clients(broker);
      const lines: string[] = [];
      for (let page = [""]; page.length > 0; lines.push(...page)) {
        const { text } = await again.security.call("readRecord", { query: { after: lines.length, limit: 2000 } });
        page = text.split("\n").filter((line) => line !== "");
      }
      expect((await verifyRecord(lines, { checkpoints: [] })).problems).toEqual([]);
      const record = lines.join("\n");
      for (const id of answered) expect(record.includes(`"${id}"`), id).toBe(true);
      await again.agent.call("requestGrant", { body: BODY });
    } finally {
      await broker.end("SIGTERM");
      folder.remove();
    }
  });
});
