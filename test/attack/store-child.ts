// A process that issues grants on a store until it is stopped or the store fails, and prints every answer it got.
// Run by the store's attack tests, with limits that this process cannot lift: `store-child.ts FILE`.

import { BrokerError } from "../../src/core/errors.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, cut, issue, T0 } from "../contract/drafts.ts";

const [, , file = ""] = process.argv;
let failed = "";

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  const store = await openSqliteStore({ file });
  await activate(store);
  say("open");
  const work = async (lane: number): Promise<void> => {
    for (let i = 0; failed === ""; i++) {
      try {
        const answer = await issue(store, T0 + i, { task: `task ${lane} ${i}` });
        if (answer.outcome === "issued") say(`grant ${answer.grant.id}`);
        if (i % 25 === 24) say(`cutoff ${(await cut(store, T0 + i, { agent: `agent-${lane}-${i}` })).id}`);
      } catch (error) {
        failed = error instanceof BrokerError ? error.code : String(error);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, lane) => work(lane)));
  say(`failed ${failed}`);
  await store.close().catch(() => undefined);
} catch (error) {
  say(`refused ${error instanceof Error ? error.message : String(error)}`);
}
