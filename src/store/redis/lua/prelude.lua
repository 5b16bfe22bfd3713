-- What every script begins with: its command, the state, and the few steps that all share. A script checks first and
-- writes after; it returns a list of texts, the outcome first. JSON is read here, never written: what is kept of it is
-- kept as the text that came.
-- INVARIANT: all keys begin with KEYS[1], which has the hash tag, so that one script decides on one shard (semantics,
-- rule 35). A script that is sent again with its operation id changes nothing and gives the same answer.

local base = KEYS[1]
local command = cjson.decode(ARGV[1])

local function key(name)
  return base .. name
end

-- Of a number that may be larger than 10^14: Lua would write it with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

local TOLERANCE_MS = 30000
local LATE_KEPT_MS = 600000
local MINUTE_MS = 60000
local ANSWER_KEPT_SECONDS = 120

local sent = command.op and redis.call('GET', key('op:' .. command.op))
if sent then return cmsgpack.unpack(sent) end

-- Only what has changed something need be told again.
local function done(answer)
  if command.op then redis.call('SET', key('op:' .. command.op), cmsgpack.pack(answer), 'EX', ANSWER_KEPT_SECONDS) end
  return answer
end

local META = { 'instant', 'last_before', 'seq', 'latest_expiry', 'longest_ttl', 'feed_number', 'cutoffs_version' }
local meta = {}
do
  local values = redis.call('HMGET', key('meta'), 'policy_digest', unpack(META))
  meta.policy_digest = values[1] or ''
  for i, name in ipairs(META) do meta[name] = tonumber(values[i + 1] or '0') end
end

local function set_meta(name, value)
  meta[name] = value
  redis.call('HSET', key('meta'), name, type(value) == 'number' and int(value) or value)
end

-- The instant of a transition: never before one that was given, and not after this server's own clock by more than
-- what a round trip takes.
local function take_instant()
  local now = redis.call('TIME')
  local newest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + 1000
  return math.max(meta.instant, math.min(command.at, newest))
end

local ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
local function make_id(kind, instant, random)
  local time = ''
  local rest = instant
  for _ = 1, 10 do
    local digit = rest % 32
    time = string.sub(ALPHABET, digit + 1, digit + 1) .. time
    rest = math.floor(rest / 32)
  end
  return kind .. '_' .. time .. random
end

local function instant_of(id)
  local instant = 0
  for i = 5, 14 do
    instant = instant * 32 + string.find(ALPHABET, string.sub(id, i, i), 1, true) - 1
  end
  return instant
end

-- Proofs ------------------------------------------------------------------------------------------------------------

local function is_late(proof, instant)
  return proof.forgetAt < instant - TOLERANCE_MS
end

-- Enough by itself only for what stops things, or reads: a late proof that is not known may have been forgotten.
local function is_replayed(proof)
  if not proof then return false end
  return redis.call('ZSCORE', key('proofs'), proof.key) ~= false
    or redis.call('ZSCORE', key('late_proofs'), proof.key) ~= false
end

-- Why this proof can give nothing, or nil.
local function check_proof(proof)
  local instant = take_instant()
  if proof and is_late(proof, instant) then return { 'clock_behind', int(instant) } end
  if is_replayed(proof) then return { 'proof_replayed' } end
end

local function write_proof(proof, instant)
  if not proof then return end
  if is_late(proof, instant) then
    redis.call('ZADD', key('late_proofs'), int(instant + LATE_KEPT_MS), proof.key)
  else
    redis.call('ZADD', key('proofs'), int(proof.forgetAt), proof.key)
  end
end

-- Checks ------------------------------------------------------------------------------------------------------------

local function check_clock()
  if command.at < meta.instant - TOLERANCE_MS then return { 'clock_behind', int(meta.instant) } end
end

-- Decided under the policy in force, for an agent that is not frozen.
local function check_standing(digest, agent)
  if meta.policy_digest == '' or meta.policy_digest ~= digest then return { 'policy_changed', meta.policy_digest } end
  if redis.call('HEXISTS', key('frozen'), agent) == 1 then return { 'agent_frozen' } end
end

local function uses_of(limit)
  return key('uses:' .. limit.agent .. ' ' .. limit.role)
end

-- Any 60 s hold at most so many uses.
local function check_limit(limit, instant)
  if not limit then return end
  local oldest = redis.call('LINDEX', uses_of(limit), -limit.perMinute)
  if not oldest then return end
  local wait = tonumber(oldest) + MINUTE_MS - instant
  if wait > 0 then return { 'limit_reached', int(math.ceil(wait / 1000)) } end
end

local function add_use(limit, instant)
  if not limit then return end
  redis.call('RPUSH', uses_of(limit), int(instant))
  redis.call('LTRIM', uses_of(limit), -limit.perMinute, -1)
  redis.call('ZADD', key('uses'), int(instant), limit.agent .. ' ' .. limit.role)
end

-- Cut-offs ----------------------------------------------------------------------------------------------------------
-- `cut:<name>` has the cut-offs of a name by their instants. A subject has the names that can void it, as text:
-- { names = {...}, issued = instant, role = ..., agents = {...} }.

local NAMED = { 'grant', 'task', 'agent', 'role', 'upstream', 'environment' }

local function includes(list, value)
  for _, one in ipairs(list) do if one == value then return true end end
  return false
end

-- True when the target names this subject. What a later version names beyond these only makes it match more.
local function targets(target, subject)
  local named = false
  for name, value in pairs(target) do
    named = true
    if name == 'everything' then
      if value ~= true then return false end
    elseif type(value) == 'string' then
      if name == 'grant' then
        if not includes(subject.grants, value) then return false end
      elseif name == 'agent' then
        if not includes(subject.agents, value) then return false end
      elseif name == 'environment' then
        if not includes(subject.environments, value) then return false end
      elseif name == 'task' or name == 'role' or name == 'upstream' then
        if subject[name] ~= value then return false end
      end
    end
  end
  return named
end

local function names_for(subject)
  local names = { '', 'task ' .. subject.task, 'role ' .. subject.role, 'upstream ' .. subject.upstream }
  for _, grant in ipairs(subject.grants) do names[#names + 1] = 'grant ' .. grant end
  for _, agent in ipairs(subject.agents) do names[#names + 1] = 'agent ' .. agent end
  for _, environment in ipairs(subject.environments) do names[#names + 1] = 'environment ' .. environment end
  return names
end

-- The earliest cut-off that voids the subject, or nil. `before` never falls while numbers rise.
local PAGE = 50
local function find_voiding(subject)
  local issued = instant_of(subject.grants[#subject.grants])
  local first = nil
  for _, name in ipairs(names_for(subject)) do
    local offset = 0
    repeat
      local numbers = redis.call('ZRANGEBYSCORE', key('cut:' .. name), int(issued), '+inf', 'LIMIT', offset, PAGE)
      local found = false
      for _, number in ipairs(numbers) do
        if first and tonumber(number) >= first.number then found = true break end
        local row = redis.call('HGET', key('cutoffs'), number)
        local cut = row and cjson.decode(row)
        if cut and targets(cut.target, subject) then
          first = { number = tonumber(number), id = cut.id }
          found = true
          break
        end
      end
      offset = offset + PAGE
    until found or #numbers < PAGE
  end
  return first
end

-- The earliest that refuses new requests for this subject, whatever their instant (rule 13), or nil.
local function find_closing(subject)
  local first = nil
  for _, name in ipairs(names_for(subject)) do
    local numbers = redis.call('ZRANGE', key('closed:' .. name), 0, PAGE - 1)
    for _, number in ipairs(numbers) do
      local cut = cjson.decode(redis.call('HGET', key('cutoffs'), number))
      if targets(cut.target, subject) and (not first or tonumber(number) < first.number) then
        first = { number = tonumber(number), id = cut.id }
      end
    end
  end
  return first
end

-- The record --------------------------------------------------------------------------------------------------------
-- An entry is durable, in its place, when it is in `drafts`; `seal.lua` links it by its hash, which a broker works out.

local function place(events, instant, ids)
  for _, event in ipairs(events) do
    meta.seq = meta.seq + 1
    local fields = { 'instant', int(instant), 'random', event.random, 'fields', event.fields }
    for i = 1, #(ids or {}) do fields[#fields + 1] = ids[i] end
    redis.call('XADD', key('drafts'), int(meta.seq) .. '-0', unpack(fields))
  end
  redis.call('HSET', key('meta'), 'seq', int(meta.seq))
end

-- The first write of every transition: proof, entries, instant.
local function write_placed(proof, events, instant, ids)
  write_proof(proof, instant)
  place(events, instant, ids)
  set_meta('instant', instant)
end

-- High-water marks: how long a cut-off must be kept, and how far back live grants can lie.
local function raise_limits(ends_at, ttl_ms)
  if ends_at > meta.latest_expiry then set_meta('latest_expiry', ends_at) end
  if ttl_ms > meta.longest_ttl then set_meta('longest_ttl', ttl_ms) end
end

-- Grants ------------------------------------------------------------------------------------------------------------
-- `grant:<id>` is a hash: `draft` is the text that came; what scripts decide by stands in fields of its own.

local GRANT = { 'agent', 'task', 'role', 'upstream', 'environments', 'parents', 'ends_at', 'ended_at', 'uses', 'hold' }

-- What scripts decide by, or nil.
local function find_grant(id)
  local values = redis.call('HMGET', key('grant:' .. id), unpack(GRANT))
  if not values[1] then return nil end
  local grant = { id = id }
  for i, name in ipairs(GRANT) do grant[name] = values[i] or nil end
  grant.environments = cjson.decode(grant.environments)
  grant.parents = cjson.decode(grant.parents)
  for _, name in ipairs({ 'ends_at', 'uses' }) do grant[name] = tonumber(grant[name]) end
  grant.ended_at = grant.ended_at and tonumber(grant.ended_at)
  grant.grants = {}
  for i, parent in ipairs(grant.parents) do grant.grants[i] = parent end
  grant.grants[#grant.grants + 1] = id
  grant.agents = { grant.agent }
  return grant
end

-- It has a hold that has not ended: it is not active yet.
local function is_held(grant)
  return grant.hold ~= nil and grant.ends_at == 0 and grant.ended_at == nil
end

local function lives(grant, instant)
  return grant.ended_at == nil and grant.ends_at > instant
end

-- All as texts, in the order of `GrantOnWire` in grants.ts.
local function grant_reply(id)
  return redis.call('HMGET', key('grant:' .. id), 'draft', 'ends_at', 'ended_at', 'ended_by', 'hold', 'version')
end
