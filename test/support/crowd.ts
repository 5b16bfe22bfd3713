// Copies of a hold in the store, as they would be of other agents, each with an id of its own; made by the store itself,
// because as many requests would take an hour. The broker must be stopped meanwhile.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestBroker } from "./broker.ts";
import { withServer } from "./redis-group.ts";

const ROWS = `
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO holds SELECT substr(id, 1, 24) || printf('%06d', i), 'agent-' || (i % 97), 'a crowd', upstream, grant_id,
  id || i, state, state_at, ended_by, why, wake_at + i, lease_token, lease_until, readable, version, outcome,
  replace(draft, id, substr(id, 1, 24) || printf('%06d', i)), sealed_request, sealed_outcome FROM holds, n`;

/** Every key that `add_hold` of prelude.lua writes. */
const KEYS = `
local base, model, first, last = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function key(name) return base .. name end
local fields = redis.call('HGETALL', key('hold:' .. model))
local sealed = redis.call('HGETALL', key('hold:' .. model .. ':sealed'))
local due = tonumber(redis.call('ZSCORE', key('holds:due'), model))
local resources = cjson.decode(redis.call('HGET', key('hold:' .. model), 'resources'))
for i = first, last do
  local id = string.sub(model, 1, 24) .. string.format('%06d', i)
  local agent = 'agent-' .. (i % 97)
  local own = { agent = agent, task = 'a crowd', fingerprint = model .. i }
  local copy = {}
  for at = 1, #fields, 2 do
    copy[at] = fields[at]
    copy[at + 1] = own[fields[at]] or (string.gsub(fields[at + 1], model, id))
  end
  redis.call('HSET', key('hold:' .. id), unpack(copy))
  redis.call('HSET', key('hold:' .. id .. ':sealed'), unpack(sealed))
  for _, name in ipairs({ 'holds', 'holds:live', 'holds:agent:' .. agent, 'holds:live:' .. agent }) do
    redis.call('ZADD', key(name), 0, id)
  end
  redis.call('ZADD', key('holds:due'), string.format('%.0f', due + i), id)
  redis.call('HSET', key('holds:same'), own.fingerprint, id)
  for _, resource in ipairs(resources) do redis.call('ZADD', key('holds:of:' .. resource), 0, id) end
end`;
const AT_ONCE = 5000;

export async function addCrowd({ folder, place }: TestBroker, model: string, count: number): Promise<void> {
  if (place.server === null) {
    const db = new DatabaseSync(join(folder, ".valetkey/broker.db"));
    db.prepare(ROWS).run(count);
    return db.close();
  }
  await withServer(place.server, async (redis) => {
    for (let first = 1; first <= count; first += AT_ONCE) {
      await redis.eval(KEYS, 1, "{valetkey}:", model, first, Math.min(count, first + AT_ONCE - 1));
    }
  });
}
