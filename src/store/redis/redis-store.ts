// The engine for several brokers: one Redis, whose scripts decide. The ports of all rooms in one value.

import type { RecordPort } from "../../audit/record-port.ts";
import { connect } from "./connection.ts";
import { createRecordPort, createSealer } from "./record.ts";
import { createScripts } from "./scripts.ts";

export interface RedisStore extends RecordPort {
  close(): Promise<void>;
}

/** `base`: with the hash tag, so that all keys lie on one shard. */
export async function openRedisStore({
  url,
  base = "{valetkey}:",
}: {
  readonly url: string;
  readonly base?: string;
}): Promise<RedisStore> {
  const client = await connect(url);
  const scripts = createScripts(client, base);
  const sealer = createSealer(client, scripts, base);
  return {
    ...createRecordPort(client, scripts, base, sealer),
    close: async () => void (await client.quit()),
  };
}
