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

-- Why this proof can give nothing, or nil. Whatever is decided, from here on it stands for no read.
local function check_proof(proof)
  if not proof then return end
  local instant = take_instant()
  local late = is_late(proof, instant)
  redis.call('ZADD', key('tried_proofs'), int(late and instant + LATE_KEPT_MS or proof.forgetAt), proof.key)
  if late then return { 'clock_behind', int(instant) } end
  if is_replayed(proof) then return { 'proof_replayed' } end
end

local MAX_PROOFS = 1000000
local MAX_PROOFS_OF_ONE = 100000

-- How many are known: of a principal, and in all, where each principal counts up to its share, so that none can use up
-- what is there for all. Names have no spaces, and the issuer stands before the first.
local function count_proof(text, by)
  local principal = string.match(text, '^[^ ]*')
  local count = redis.call('HINCRBY', key('proof_counts'), principal, by)
  if count <= 0 then redis.call('HDEL', key('proof_counts'), principal) end
  if math.max(count, count - by) <= MAX_PROOFS_OF_ONE then redis.call('HINCRBY', key('meta'), 'proofs', by) end
end

local function write_proof(proof, instant)
  if not proof then return end
  local name, until_then = 'proofs', proof.forgetAt
  if is_late(proof, instant) then name, until_then = 'late_proofs', instant + LATE_KEPT_MS end
  if redis.call('ZADD', key(name), int(until_then), proof.key) == 1 then count_proof(proof.key, 1) end
end

-- Forgets at most `limit` of each kind that can be accepted no more, by the last instant that was given. Answers with
-- the most that it found of one kind.
local function forget_proofs(limit)
  local ends = { proofs = TOLERANCE_MS, late_proofs = 0, tried_proofs = TOLERANCE_MS }
  local most = 0
  for name, tolerance in pairs(ends) do
    local before = '(' .. int(meta.instant - tolerance)
    local old = redis.call('ZRANGEBYSCORE', key(name), '-inf', before, 'LIMIT', 0, limit)
    if #old > 0 then redis.call('ZREM', key(name), unpack(old)) end
    if name ~= 'tried_proofs' then
      for _, text in ipairs(old) do count_proof(text, -1) end
    end
    most = math.max(most, #old)
  end
  return most
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
-- `cutoffs` has a row of each that is in force: closed, id, before, kept until, and the JSON of target, reason and by.
-- `cut:<target>` has those of one target by their instants, and `closed:<target>` those that close it: thousands of one
-- target cost what one does. A subject is looked for under every target that can name it, of the shapes that there are
-- (which fields a target names). It has `grants` (its own last), `agents`, `task`, `role`, `upstream`, `environments`.

local PAGE = 50
local FIELDS = { 'grant', 'task', 'agent', 'role', 'upstream', 'environment' }

-- With its length: values hold anything.
local function part(field, value)
  return field .. #value .. ':' .. value
end

-- The fields that a target names, and these with their values. What a later version names beyond them is left out, so
-- that it only matches more.
local function shape_of(target)
  local fields, text = {}, ''
  for _, field in ipairs(FIELDS) do
    local value = target[field]
    if type(value) == 'string' then
      fields[#fields + 1] = field
      text = text .. part(field, value)
    end
  end
  return table.concat(fields, ' '), text
end

-- The targets of these shapes that name the subject.
local function targets_of(subject, shapes)
  local values = {
    grant = subject.grants,
    task = { subject.task },
    agent = subject.agents,
    role = { subject.role },
    upstream = { subject.upstream },
    environment = subject.environments,
  }
  local found = {}
  for _, shape in ipairs(shapes) do
    local texts = { '' }
    for field in string.gmatch(shape, '%S+') do
      local longer = {}
      for _, text in ipairs(texts) do
        for _, value in ipairs(values[field]) do longer[#longer + 1] = text .. part(field, value) end
      end
      texts = longer
    end
    for _, text in ipairs(texts) do found[#found + 1] = text end
  end
  return found
end

-- Numbers that sort as text: cut-offs of one instant keep their order.
local function padded(number)
  return string.format('%016.0f', number)
end

local function parse_cut(row)
  local closed, id, before, kept_until, text = string.match(row, '^(%d) (%S+) (%d+) (%d+) (.*)$')
  return {
    closed = closed == '1', id = id, before = tonumber(before), kept_until = tonumber(kept_until),
    target = cjson.decode(text).target, rest = string.sub(row, 3),
  }
end

local function cut_named(first)
  if not first then return nil end
  return { number = tonumber(first), id = parse_cut(redis.call('HGET', key('cutoffs'), int(tonumber(first)))).id }
end

-- The earliest cut-off that voids the subject, { number, id }, or nil. `before` never falls while numbers rise.
local function find_voiding(subject)
  local issued = int(instant_of(subject.grants[#subject.grants]))
  local first = nil
  for _, text in ipairs(targets_of(subject, redis.call('HKEYS', key('cut_shapes')))) do
    local one = redis.call('ZRANGEBYSCORE', key('cut:' .. text), issued, '+inf', 'LIMIT', 0, 1)[1]
    if one and (not first or one < first) then first = one end
  end
  return cut_named(first)
end

-- The earliest that refuses new requests for this subject, whatever their instant (rule 13), or nil.
local function find_closing(subject)
  local first = nil
  for _, text in ipairs(targets_of(subject, redis.call('HKEYS', key('closed_shapes')))) do
    local one = redis.call('ZRANGE', key('closed:' .. text), 0, 0)[1]
    if one and (not first or one < first) then first = one end
  end
  return cut_named(first)
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

-- Cut-offs, written -------------------------------------------------------------------------------------------------
-- `closing:<grant and task>` has the numbers of what reopening lifts together; `cutoffs_over` the instants after which
-- one is forgotten, `cutoffs_changed` the versions by which brokers follow.

-- The closure of a task stays until a person lifts it; for a grant nothing can be asked once it has ended.
local function closes_task(cut)
  return cut.closed and type(cut.target.grant) ~= 'string'
end

local function is_over(cut, instant)
  return cut.kept_until < instant and not closes_task(cut)
end

local function closing_of(target)
  local pair = {}
  for _, field in ipairs({ 'grant', 'task' }) do pair[field] = target[field] end
  local _, text = shape_of(pair)
  return key('closing:' .. text)
end

local function is_in_shape(target)
  return next(target) ~= nil and (target.everything == nil or target.everything == true)
end

local function count_shape(name, shape, by)
  if redis.call('HINCRBY', key(name), shape, by) <= 0 then redis.call('HDEL', key(name), shape) end
end

local function next_version()
  set_meta('cutoffs_version', meta.cutoffs_version + 1)
  return int(meta.cutoffs_version)
end

local function write_cut(number, cut)
  cut.row = (cut.closed and '1 ' or '0 ') .. cut.rest
  redis.call('HSET', key('cutoffs'), int(number), cut.row)
  redis.call('ZADD', key('cutoffs_changed'), next_version(), int(number))
  if not closes_task(cut) then redis.call('ZADD', key('cutoffs_over'), int(cut.kept_until), int(number)) end
end

local function lift_closure(number, cut)
  local shape, text = shape_of(cut.target)
  if redis.call('ZREM', key('closed:' .. text), padded(number)) == 1 then count_shape('closed_shapes', shape, -1) end
  redis.call('ZREM', closing_of(cut.target), int(number))
end

local function unindex_cut(number, cut)
  lift_closure(number, cut)
  local shape, text = shape_of(cut.target)
  if redis.call('ZREM', key('cut:' .. text), padded(number)) == 1 then count_shape('cut_shapes', shape, -1) end
end

-- As `nameOf` has it: what past ones are found by.
local function name_of(target)
  for _, field in ipairs(FIELDS) do
    if type(target[field]) == 'string' then return field .. ' ' .. target[field] end
  end
  return ''
end

-- With its entry in the record. Answers with its number and its row.
local function add_cut_off(target)
  local before = take_instant()
  local kept_until = math.max(meta.latest_expiry, before) + TOLERANCE_MS
  local number = meta.feed_number + 1
  local cut = { id = make_id('rev', before, command.random), before = before, kept_until = kept_until, target = target }
  cut.closed = type(target.grant) == 'string' or type(target.task) == 'string'
  cut.rest = cut.id .. ' ' .. int(before) .. ' ' .. int(kept_until) .. ' ' .. command.text

  write_placed(command.proof, { command.event }, before, { 'revocation', cut.id, 'before', int(before) })
  set_meta('feed_number', number)
  set_meta('last_before', before)
  write_cut(number, cut)
  redis.call('HSET', key('cutoff_ids'), cut.id, int(number))
  if is_in_shape(target) then
    local shape, text = shape_of(target)
    redis.call('ZADD', key('cut:' .. text), int(before), padded(number))
    count_shape('cut_shapes', shape, 1)
    if cut.closed then
      redis.call('ZADD', key('closed:' .. text), int(number), padded(number))
      redis.call('ZADD', closing_of(target), int(number), int(number))
      count_shape('closed_shapes', shape, 1)
    end
  end
  return int(number), cut
end
