// The whole record of a test broker, parsed.

import * as z from "zod";
import type { TestBroker } from "./broker.ts";

const Event = z.record(z.string(), z.unknown());

export async function readEvents(broker: Pick<TestBroker, "as">): Promise<readonly Record<string, unknown>[]> {
  return (await readLines(broker)).map((line) => Event.parse(JSON.parse(line)));
}

async function readLines(broker: Pick<TestBroker, "as">): Promise<readonly string[]> {
  const lines: string[] = [];
  for (;;) {
    const { text } = await broker.as("security-1").call("readRecord", { query: { after: lines.length, limit: 2000 } });
    const page = text.split("\n").filter((line) => line !== "");
    lines.push(...page);
    if (page.length < 2000) return lines;
  }
}
