-- Housekeeping: a few rows of each kind that nobody can ask for any more. Never touches the record. Run every second, and
-- again while there is `more`. By the last instant that was given: nothing is forgotten that a clock set back may need.
local ROWS_EACH = 600
-- Each with megabytes of sealed bytes.
local HOLDS_EACH = 50
local DAY_MS = 86400000
local instant = meta.instant
local kept_since = instant - 30 * DAY_MS
if kept_since <= 0 then return { 'done' } end

local function below(name, limit, count)
  return redis.call('ZRANGEBYSCORE', key(name), '-inf', limit, 'LIMIT', 0, count)
end

local function prune_uses()
  local old = below('uses', int(instant - MINUTE_MS), ROWS_EACH)
  for _, use in ipairs(old) do
    redis.call('DEL', key('uses:' .. use))
    redis.call('ZREM', key('uses'), use)
  end
  return #old
end

-- Ids sort by time. Those that wait stay, so the walk goes on where it was, and begins again at its end.
local function prune_grants()
  local after = redis.call('HGET', key('meta'), 'pruned_grant')
  local from = after and after ~= '' and '(' .. after or '-'
  local last = '(' .. make_id('grt', kept_since, string.rep('0', 16))
  local ids = redis.call('ZRANGEBYLEX', key('grants'), from, last, 'LIMIT', 0, ROWS_EACH)
  for _, id in ipairs(ids) do
    local agent, task, hold, ends_at, ended_at = unpack(
      redis.call('HMGET', key('grant:' .. id), 'agent', 'task', 'hold', 'ends_at', 'ended_at'))
    local is_held = hold and ends_at == '0' and not ended_at
    if agent and not is_held and tonumber(ended_at or ends_at) < kept_since then
      redis.call('DEL', key('grant:' .. id))
      redis.call('ZREM', key('grants'), id)
      redis.call('ZREM', key('grants:agent:' .. agent), id)
      redis.call('ZREM', key('grants:task:' .. task), id)
      redis.call('ZREM', key('activated'), id)
    end
  end
  local reached = #ids == ROWS_EACH and ids[#ids] or ''
  if reached ~= (after or '') then set_meta('pruned_grant', reached) end
  return #ids
end

-- What is over leaves what scripts and brokers look at, and stays as history of the grants that it ended.
local function forget_cut_offs()
  local over = below('cutoffs_over', '(' .. int(instant), ROWS_EACH)
  for _, text in ipairs(over) do
    local number = tonumber(text)
    local row = redis.call('HGET', key('cutoffs'), text)
    local cut = parse_cut(row)
    unindex_cut(number, cut)
    redis.call('HDEL', key('cutoffs'), text)
    redis.call('HDEL', key('cutoff_ids'), cut.id)
    redis.call('ZREM', key('cutoffs_over'), text)
    redis.call('ZREM', key('cutoffs_changed'), text)
    redis.call('ZADD', key('cutoffs_forgotten'), next_version(), text)
    redis.call('HSET', key('past_cutoffs'), text, row)
    redis.call('ZADD', key('past:' .. name_of(cut.target)), int(cut.before), padded(number))
    redis.call('ZADD', key('cutoffs_past'), int(cut.kept_until), text)
  end
  return #over
end

local function prune_past_cut_offs()
  local past = below('cutoffs_past', '(' .. int(kept_since), ROWS_EACH)
  local removed = 0
  for _, text in ipairs(past) do
    local cut = parse_cut(redis.call('HGET', key('past_cutoffs'), text))
    redis.call('HDEL', key('past_cutoffs'), text)
    redis.call('ZREM', key('past:' .. name_of(cut.target)), padded(tonumber(text)))
    redis.call('ZREM', key('cutoffs_past'), text)
    removed = math.max(removed, tonumber(redis.call('ZSCORE', key('cutoffs_forgotten'), text)))
    redis.call('ZREM', key('cutoffs_forgotten'), text)
  end
  -- Who knows an older version must read all of them again.
  local known = tonumber(redis.call('HGET', key('meta'), 'cutoffs_removed') or '0')
  if removed > known then set_meta('cutoffs_removed', removed) end
  return #past
end

local function prune_holds()
  local old = below('holds:ended', '(' .. int(kept_since), HOLDS_EACH)
  for _, id in ipairs(old) do
    local agent, fingerprint = unpack(redis.call('HMGET', key('hold:' .. id), 'agent', 'fingerprint'))
    redis.call('UNLINK', key('hold:' .. id), key('hold:' .. id .. ':approvals'), key('hold:' .. id .. ':sealed'))
    redis.call('ZREM', key('holds'), id)
    redis.call('ZREM', key('holds:ended'), id)
    if agent then redis.call('ZREM', key('holds:agent:' .. agent), id) end
    if fingerprint and redis.call('HGET', key('holds:same'), fingerprint) == id then
      redis.call('HDEL', key('holds:same'), fingerprint)
    end
  end
  return #old
end

-- None older is accepted. `attestations` has all by when they were taken.
local function prune_attestations()
  local old = below('attestations', '(' .. int(instant - 90 * DAY_MS), ROWS_EACH)
  for _, id in ipairs(old) do
    local resource, same = unpack(redis.call('HMGET', key('attestation:' .. id), 'resource', 'same'))
    redis.call('DEL', key('attestation:' .. id))
    redis.call('ZREM', key('attestations'), id)
    if resource then redis.call('ZREM', key('attestations:' .. resource), id) end
    if same then redis.call('HDEL', key('attestations:same'), same) end
  end
  return #old
end

local proofs, uses, grants, over = forget_proofs(ROWS_EACH), prune_uses(), prune_grants(), forget_cut_offs()
-- A cut-off was kept longer than any grant that it ended lived, so those are gone when this many days have passed.
local past = grants == ROWS_EACH and 0 or prune_past_cut_offs()
local holds, statements = prune_holds(), prune_attestations()
local is_more = holds == HOLDS_EACH or math.max(proofs, uses, grants, over, past, statements) == ROWS_EACH
return { is_more and 'more' or 'done' }
