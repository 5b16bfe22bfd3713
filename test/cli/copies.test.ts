// A broker's store moves from SQLite to Redis and from a backup into another, by the commands that people use: what was
// granted goes on after a move, is void after a restore, and no store serves twice.

import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Broker, startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { runCli } from "./cli-run.ts";
import { readEvents } from "../support/read-events.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";

const ISSUER = "http://127.0.0.1:1";
const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };

let server: RedisServer;
let folder: TestFolder;
let broker: Broker | null = null;
beforeAll(async () => {
  [server, folder] = await Promise.all([startRedisServer(), makeTestFolder()]);
});
afterAll(async () => {
  await broker?.close();
  await server.close();
  folder.remove();
});

async function start(store: string): Promise<(name: string) => ApiClient> {
  const env = { VALETKEY_LISTEN: "127.0.0.1:0", VALETKEY_ISSUER: ISSUER, VALETKEY_STORE: store };
  const started = await startBroker(readServerConfig(env, folder.path), { log: () => undefined });
  broker = started;
  return (name) => createApiClient({ url: started.url, issuer: ISSUER, name, key: folder.keyOf(name) });
}

async function stop(): Promise<void> {
  await broker?.close();
  broker = null;
}

async function ask(client: ApiClient, task: string) {
  const answer = await client.call("requestGrant", { body: { task, permissions: [DOMAIN] } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer.grant;
}

const run = (store: string, ...argv: readonly string[]) =>
  runCli([...argv, "--json"], { cwd: folder.path, env: { VALETKEY_STORE: store } });

const renew = (client: ApiClient, id: string) => client.call("renewCredential", { params: { id } });

describe("a store that is moved", { timeout: 120_000 }, () => {
  const first = "sqlite:.valetkey/broker.db";

  it("goes on in Redis where it ended in SQLite, and is closed for good where it was", async () => {
    let as = await start(first);
    const [kept, revoked] = [await ask(as("coder"), "kept"), await ask(as("coder"), "revoked")];
    await as("security-1").call("revoke", { body: { target: { task: "revoked" }, reason: "test" } });
    const busy = await run(first, "migrate", "--to", server.url);
    expect([busy.code, busy.stderr]).toEqual([1, expect.stringMatching(/another broker uses/)]);
    await stop();

    // Nothing that brokers could not open afterwards, or that could lose it.
    const loose = await startRedisServer({ extra: ["--appendfsync", "everysec"] });
    for (const more of [[], ["--dry-run"]]) {
      const refused = await run(first, "migrate", "--to", loose.url, ...more);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/may lose .*\n.*appendfsync/)]);
    }
    await loose.close();
    writeFileSync(join(folder.path, "other.key"), randomBytes(32), { mode: 0o600 });
    const env = { VALETKEY_STORE: first, VALETKEY_MASTER_KEY_FILE: "other.key" };
    const wrongKey = await runCli(["migrate", "--to", server.url], { cwd: folder.path, env });
    expect([wrongKey.code, wrongKey.stderr]).toEqual([1, expect.stringMatching(/master key is not the one/)]);
    const misspelt = { VALETKEY_STORE: first, VALETKEY_MASTER_KEYFILE: "other.key" };
    const unknown = await runCli(["backup", "a.backup"], { cwd: folder.path, env: misspelt });
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringMatching(/VALETKEY_MASTER_KEYFILE/)]);
    expect((await run(first, "migrate", "--to", first)).stderr).toMatch(/are the same/);
    expect((await run(first, "migrate", "--to", "broker.db")).stderr).toMatch(/^valetkey: --to: expected sqlite:/);

    const dry = await run(first, "migrate", "--to", server.url, "--dry-run");
    expect([dry.code, dry.stderr]).toEqual([0, ""]);
    as = await start(first);
    await renew(as("coder"), kept.id);
    await stop();

    const moved = await run(first, "migrate", "--to", server.url);
    expect(moved.stderr).toMatch(/closed for good/);
    expect(JSON.parse(moved.stdout)).toMatchObject({ counts: { grant: 2, cut_off: 1 }, moved: "yes" });
    await expect(start(first)).rejects.toThrow(/was moved to redis:.*closed for good/);
    await stop();
    const again = await run(first, "migrate", "--to", server.url, "--force");
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/was moved to redis:.* already/)]);

    as = await start(server.url);
    await renew(as("coder"), kept.id);
    await expect(renew(as("coder"), revoked.id)).rejects.toMatchObject({ code: "cut_off" });
    await expect(ask(as("coder"), "revoked")).rejects.toMatchObject({ code: "cut_off" });
    const types = (await readEvents({ as })).map(({ type }) => type);
    expect(types.filter((type) => type === "grant.issued")).toHaveLength(2);
    expect(types.filter((type) => type === "broker.started").length).toBeGreaterThanOrEqual(3);
    await stop();
  });

  it("is backed up while its broker runs, and restored with everything void until a person acknowledges it", async () => {
    let as = await start(server.url);
    const old = await ask(as("coder"), "old");
    const file = "all.backup";
    const checkpoint = await as("admin-1").call("checkpoint");
    writeFileSync(join(folder.path, "head.json"), JSON.stringify(checkpoint));
    const forged = { ...checkpoint, checkpoint: `${checkpoint.checkpoint.slice(0, -8)}AAAAAAAA` };
    writeFileSync(join(folder.path, "forged.json"), JSON.stringify(forged));
    const backup = await run(server.url, "backup", file);
    expect([backup.code, backup.stderr]).toEqual([0, ""]);
    expect(readFileSync(join(folder.path, file)).includes("grt_")).toBe(false);
    expect((await run(server.url, "backup", file)).stderr).toMatch(/there already/);
    const verified = JSON.parse((await run(server.url, "backup", "verify", file)).stdout) as { head: object };
    expect(JSON.parse(backup.stdout)).toMatchObject(verified.head === undefined ? {} : { head: verified.head });
    await as("security-1").call("revoke", { body: { target: { agent: "coder" }, reason: "after the backup" } });
    const head = (await readEvents({ as })).length;
    await stop();

    const to = "sqlite:restored.db";
    const kept = `${head}:${"0".repeat(64)}`;
    expect((await run(to, "restore", file)).stderr).toMatch(
      /has \d+ cut-offs, which would be carried over.*--accept-loss/,
    );
    // What the broker knew is lost as well.
    const known = join(folder.path, ".valetkey/known-redis.json");
    renameSync(known, `${known}.away`);
    expect((await run(to, "restore", file)).stderr).toMatch(/nothing says what was revoked since/);
    expect((await run(to, "restore", file, "--head", kept)).stderr).toMatch(/at least \d+ entries .* --accept-loss/);
    expect((await run(to, "restore", file, "--head", "forged.json")).stderr).toMatch(/not signed by the key/);
    const signed = await run("sqlite:other.db", "restore", file, "--head", "head.json");
    expect([signed.code, signed.stderr]).toEqual([0, expect.stringMatching(/doctor --acknowledge-store --reason/)]);
    renameSync(`${known}.away`, known);
    expect((await run(to, "restore", file, "--head", `3:${"0".repeat(64)}`)).stderr).toMatch(/another record/);
    const restored = await run(to, "restore", file, "--head", kept, "--accept-loss", "the server burnt");
    expect(restored.code, restored.stderr).toBe(0);
    expect((await run(to, "restore", file, "--accept-loss", "again")).stderr).toMatch(/there is a store/);
    expect((await run(server.url, "restore", file, "--accept-loss", "again")).stderr).toMatch(
      /not empty|a broker runs/,
    );

    as = await start(to);
    await expect(renew(as("coder"), old.id)).rejects.toMatchObject({
      code: expect.stringMatching(/cut_off|went_back/),
    });
    await expect(ask(as("coder"), "new")).rejects.toMatchObject({ code: "store_went_back" });
    const events = await readEvents({ as });
    expect(events.find(({ type }) => type === "store.restored")).toMatchObject({
      reason: "the server burnt",
      carried: 1,
    });
    await stop();
    rmSync(join(folder.path, file));
  });
});
