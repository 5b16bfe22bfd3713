// A store whose thread dies: nothing waits for ever, nothing is answered that was not done.

import { describe, expect, it } from "vitest";
import { startThread } from "../../src/store/sqlite/thread.ts";

interface Methods {
  readonly ask: { readonly argument: string; readonly result: string };
}

const TASK = { role: "reader", file: "none" } as const;

/** Stands in for a worker: greets, then does as it is told with its first batch of calls. */
function startWorker(onCalls: string): ReturnType<typeof startThread<Methods>> {
  const source =
    'import { parentPort } from "node:worker_threads";' +
    'parentPort.once("message", () => { parentPort.postMessage(JSON.stringify({ ready: null }));' +
    `parentPort.on("message", () => { ${onCalls} }); });`;
  return startThread<Methods>(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
}

describe("the thread of a store", { timeout: 30_000 }, () => {
  for (const [how, onCalls] of [
    ["ends", "process.exit(1)"],
    ["throws", 'throw new Error("broken")'],
  ] as const) {
    it(`rejects what waits and what comes later when it ${how}`, async () => {
      const thread = await startWorker(onCalls).begin(TASK);
      const pending = await Promise.allSettled([thread.call("ask", "a"), thread.call("ask", "b")]);
      for (const each of pending)
        expect(each).toMatchObject({ status: "rejected", reason: { code: "store_unavailable" } });
      await expect(thread.call("ask", "c")).rejects.toMatchObject({ code: "store_unavailable" });
      await thread.close();
    });
  }

  it("refuses to start when it ends before it greets", async () => {
    const starting = startThread<Methods>(new URL("data:text/javascript,process.exit(1)"));
    await expect(starting.begin(TASK)).rejects.toMatchObject({ code: "store_unavailable" });
  });
});
