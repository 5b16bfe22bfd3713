import { expect, it } from "vitest";
import { makeId, drawRandomPart } from "../../src/core/ids.ts";
import { activate, begin, cut, grantFrom, T0 } from "./drafts.ts";
import { withTwoBrokers } from "./redis-grants-opened.ts";
import { useRedisParts } from "./redis-parts.ts";
useRedisParts();
const MANY = Number(process.env["MANY"] ?? 200_000);
it("bench", { timeout: 600_000 }, async () => {
  await withTwoBrokers(async (one, other) => {
    await activate(one);
    const grant = await grantFrom(one, T0, { ttlSeconds: 86_400 });
    const row = await one.client.hgetall(`${one.base}grant:${grant.id}`);
    for (let from = 0; from < MANY; from += 1000) {
      const batch = one.client.pipeline();
      for (let i = from; i < from + 1000; i++) {
        const id = makeId("grt", T0 + 1 + Math.floor(i / 10), drawRandomPart());
        const agent = `agent-${i % 7}`;
        batch.hset(`${one.base}grant:${id}`, { ...row, agent });
        for (const name of ["grants", `grants:agent:${agent}`, "grants:task:crowd"]) batch.zadd(one.base + name, 0, id);
      }
      await batch.exec();
    }
    let worst = 0, run = true;
    const pinger = (async () => { while (run) { const s = performance.now(); await one.client.ping(); worst = Math.max(worst, performance.now() - s); await new Promise((r) => setTimeout(r, 1)); } })();
    const time = async (name: string, act: () => Promise<unknown>) => { worst = 0; const s = performance.now(); const v = await act(); console.log(name, Math.round(performance.now() - s), "ms; worst ping", Math.round(worst), JSON.stringify(v)?.slice(0, 80)); };
    const at = T0 + 100_000;
    await time("list", () => other.list({}, at, 51));
    await time("list active", () => other.list({ status: "active" }, at, 51));
    await time("list ended", () => other.list({ status: "ended" }, at, 51));
    await time("list role", () => other.list({ role: "none" }, at, 51));
    await time("list held", () => other.list({ agent: "agent-1", status: "held" }, at, 51));
    await time("count grant", async () => other.countMet(await cut(one, at, { grant: grant.id }), at));
    await time("count agent", async () => other.countMet(await cut(one, at, { agent: "agent-1" }), at));
    await time("count all", async () => other.countMet(await cut(one, at, { everything: true }), at));
    await time("count all again", async () => other.countMet(await cut(one, at, { everything: true }), at));
    await time("shapes void", () => other.liveShapes("b".repeat(64), at));
    console.log((await one.client.info("commandstats")).split("\n").filter((l) => /eval|hmget|lex/.test(l)).join("\n"));
    { const s = performance.now(); const c = process.cpuUsage(); let n = 0; let min = "-";
      for (;;) { const r = await one.scripts.run("look", { rows: "grant:", fields: ["look","ends_at","ended_at","ended_by","hold","version"], index: "grants", from: min, to: "+", count: 500 }); n += (r[1].split("\n").length) / 7; const l = r[1].split("\n"); if (l.length < 3500) break; min = "(" + l[l.length - 7]; }
      console.log("raw", n, performance.now() - s, JSON.stringify(process.cpuUsage(c))); }
    const live = await grantFrom(one, at + 10, { agent: "x" });
    await time("5000 calls", async () => { for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 100 }, () => begin(i % 2 ? one : other, at + 10, live, { uses: 1e9, limit: { agent: "x", role: "r", perMinute: 100000 } }))); });
    run = false; await pinger;
    expect(1).toBe(1);
  });
});
it("shapes", { timeout: 600_000 }, async () => {
  await withTwoBrokers(async (one, other) => {
    await activate(one);
    const grant = await grantFrom(one, T0, { ttlSeconds: 86_400 });
    const row = await one.client.hgetall(`${one.base}grant:${grant.id}`);
    for (let from = 0; from < MANY; from += 1000) {
      const batch = one.client.pipeline();
      for (let i = from; i < from + 1000; i++) {
        const id = makeId("grt", T0 + 1 + Math.floor(i / 10), drawRandomPart());
        batch.hset(`${one.base}grant:${id}`, row); batch.zadd(one.base + "grants", 0, id);
      }
      await batch.exec();
    }
    const s = performance.now();
    const v = await other.liveShapes("b".repeat(64), T0 + 1000);
    console.log("shapes", performance.now() - s, v[0]?.grants);
  });
});
