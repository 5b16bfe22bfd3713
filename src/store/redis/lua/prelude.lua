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

local NUMBERS = {
  'instant', 'last_before', 'seq', 'latest_expiry', 'longest_ttl', 'feed_number', 'cutoffs_version', 'epoch', 'proofs_after',
}
local TEXTS = { 'policy_digest', 'went_back', 'last', 'loading' }
local meta = {}
do
  local names = { unpack(TEXTS) }
  for i, name in ipairs(NUMBERS) do names[#TEXTS + i] = name end
  local values = redis.call('HMGET', key('meta'), unpack(names))
  for i, name in ipairs(TEXTS) do meta[name] = values[i] or '' end
  for i, name in ipairs(NUMBERS) do meta[name] = tonumber(values[#TEXTS + i] or '0') end
end
-- A store that is being filled by a restore or a migration is nobody else's before all of it is there.
if meta.loading ~= '' and not command.load then return redis.error_reply('BEINGLOADED by ' .. meta.loading) end

local function set_meta(name, value)
  meta[name] = value
  redis.call('HSET', key('meta'), name, type(value) == 'number' and int(value) or value)
end

-- This server's own clock; a store that was opened with another one, by tests, sends that.
local function wall_clock()
  if command.now then return command.now end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

-- The instant of a transition: never before one that was given, and not after this server's own clock by more than
-- what a round trip takes.
local function take_instant()
  return math.max(meta.instant, math.min(command.at, wall_clock() + 1000))
end

-- What brokers keep of the store, and read again when it has changed; `core/topics.ts` has the topics. The oldest entries
-- go: who comes that late reads everything.
local CHANGES_KEPT = 10000
local function tell(topic)
  redis.call('XADD', key('changes'), 'MAXLEN', '~', CHANGES_KEPT, '*', 'topic', topic)
end

-- A store that went backwards ------------------------------------------------------------------------------------------
-- Every command says the furthest that its broker was ever told of this store (`seen.ts`). A store that is not as far, or
-- that came there in another way, has lost something: after a fail-over, or with a restored copy. From then on it gives
-- nothing, to no broker, until a person says so (`recover.lua`); what stops things, and the record, go on.
-- `went_back`: epoch and number that were seen, epoch and number that were found, the instant at which it was noticed.

local function random_at(seq)
  local id = int(seq) .. '-0'
  local draft = redis.call('XRANGE', key('drafts'), id, id)[1]
  if draft then return draft[2][4] end
  local leaf = redis.call('XRANGE', key('record'), id, id)[1]
  return leaf and string.match(leaf[2][2], '"id":"evt_' .. string.rep('%w', 10) .. '(%w+)"')
end

local function mark_went_back(seen)
  local found = int(meta.epoch) .. ' ' .. int(meta.seq)
  local noticed = math.max(meta.instant, wall_clock())
  set_meta('went_back', int(seen.epoch) .. ' ' .. int(seen.seq) .. ' ' .. found .. ' ' .. int(noticed))
  -- No number of the feed is given twice.
  if seen.feed > meta.feed_number then set_meta('feed_number', seen.feed) end
  tell('frozen')
end

-- `look`: the connection is new, and somebody may have written more on an older state than was lost of the newer one.
local function is_behind(seen)
  if meta.epoch ~= seen.epoch then return meta.epoch < seen.epoch end
  if meta.seq < seen.seq then return true end
  if seen.seq == 0 or seen.last == '' then return false end
  if meta.seq == seen.seq and meta.last ~= '' then return meta.last ~= seen.last end
  return seen.look and random_at(seen.seq) ~= seen.last
end

if meta.went_back == '' and command.seen and not command.load and is_behind(command.seen) then mark_went_back(command.seen) end

-- Of whatever gives, widens, or lifts a stop.
local function check_went_back()
  if meta.went_back ~= '' then return { 'went_back', meta.went_back } end
end

-- Answers, with how far the store is.
local function told(answer)
  return { answer, int(meta.epoch), int(meta.seq), int(meta.feed_number), meta.last }
end

local GIVING = { issued = true, renewed = true, begun = true, held = true, activated = true, claimed = true, ordered = true }

local sent = command.op and redis.call('GET', key('op:' .. command.op))
if sent then
  local answer = cmsgpack.unpack(sent)
  -- An older state may remember the answer without what has been revoked since.
  return GIVING[answer[1]] and check_went_back() or told(answer)
end

-- Only what has changed something need be told again.
local function done(answer)
  if command.op then redis.call('SET', key('op:' .. command.op), cmsgpack.pack(answer), 'EX', ANSWER_KEPT_SECONDS) end
  return told(answer)
end

-- Ids and instants ----------------------------------------------------------------------------------------------------

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
  -- Its use may be among what the store lost.
  if meta.proofs_after > 0 and (proof.issuedAt or 0) <= meta.proofs_after then return true end
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
  if meta.went_back ~= '' then return check_went_back() end
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
    meta.last = event.random
    local fields = { 'instant', int(instant), 'random', event.random, 'fields', event.fields }
    for i = 1, #(ids or {}) do fields[#fields + 1] = ids[i] end
    redis.call('XADD', key('drafts'), int(meta.seq) .. '-0', unpack(fields))
  end
  redis.call('HSET', key('meta'), 'seq', int(meta.seq), 'last', meta.last)
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

-- One that was not there, and what it is found by.
local function write_new_cut(number, cut)
  write_cut(number, cut)
  redis.call('HSET', key('cutoff_ids'), cut.id, int(number))
  local target = cut.target
  if is_in_shape(target) then
    local shape, text = shape_of(target)
    redis.call('ZADD', key('cut:' .. text), int(cut.before), padded(number))
    count_shape('cut_shapes', shape, 1)
    if cut.closed then
      redis.call('ZADD', key('closed:' .. text), int(number), padded(number))
      redis.call('ZADD', closing_of(target), int(number), int(number))
      count_shape('closed_shapes', shape, 1)
    end
  end
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
  write_new_cut(number, cut)
  tell('feed')
  return int(number), cut
end

-- Grants and calls: checked and written -------------------------------------------------------------------------------
-- A refusal is the script's whole answer. Of a grant's draft there come `environments` and `parents` as JSON texts, and
-- `text`, which is only kept.

-- What is refused whatever is asked.
local function check_basics(proof, digest, agent)
  return check_clock() or check_proof(proof) or check_standing(digest, agent)
end

-- What cut-offs are held against before the grant has an id: the chain is that of its parents.
local function request_subject(grant)
  return {
    grants = cjson.decode(grant.parents), agents = { grant.agent }, task = grant.task, role = grant.role,
    upstream = grant.upstream, environments = cjson.decode(grant.environments),
  }
end

local function cut_off_by(cut)
  return { 'cut_off', cut.id }
end

-- What voids one of them by itself, as its role or agent may have been another.
local function find_cut_parent(ids)
  for _, id in ipairs(ids) do
    local parent = find_grant(id)
    local cut = parent and find_voiding(parent)
    if cut then return cut end
  end
end

-- The earliest end of them, as large as numbers get where there are none; nil where one does not live. Cut-offs are not
-- looked at.
local function end_of_parents(ids, instant)
  local ends_at = math.huge
  for _, id in ipairs(ids) do
    local parent = find_grant(id)
    if not parent or not lives(parent, instant) then return nil end
    ends_at = math.min(ends_at, parent.ends_at)
  end
  return ends_at
end

-- A child needs live parents and never outlives one: the refusal, or nil and their end.
local function check_parents(ids, instant)
  local cut = find_cut_parent(ids)
  if cut then return cut_off_by(cut) end
  local ends_at = end_of_parents(ids, instant)
  if not ends_at then return { 'parent_ended' } end
  return nil, ends_at
end

-- `ends_at` 0 and a hold: it waits.
local function write_grant(id, grant, ends_at, hold)
  redis.call('HSET', key('grant:' .. id), 'draft', grant.text, 'look', grant.look, 'agent', grant.agent, 'task', grant.task,
    'role', grant.role, 'upstream', grant.upstream, 'environments', grant.environments, 'parents', grant.parents,
    'policy_digest', grant.policyDigest, 'ttl_seconds', int(grant.ttlSeconds), 'ends_at', int(ends_at), 'uses', '0',
    'version', '1')
  if grant.owner then redis.call('HSET', key('grant:' .. id), 'owner', grant.owner) end
  if hold then redis.call('HSET', key('grant:' .. id), 'hold', hold) end
  for _, name in ipairs({ 'grants', 'grants:agent:' .. grant.agent, 'grants:task:' .. grant.task }) do
    redis.call('ZADD', key(name), 0, id)
  end
end

local function end_grant(id, instant, by)
  redis.call('HSET', key('grant:' .. id), 'ended_at', int(instant), 'ended_by', by)
  redis.call('HINCRBY', key('grant:' .. id), 'version', 1)
  tell('waiting')
end

-- What is refused whatever is called: the refusal, or nil and the chain of the grant, oldest first.
-- A child dies with its parent; a missing parent is no live one. The grant's own cut-off is told first.
-- INVARIANT: what closes a task voids all its grants, because none is given while it is closed.
local function check_call(instant)
  local refused = check_clock() or check_standing(command.policyDigest, command.agent)
  if refused then return refused end
  local own = find_grant(command.grant)
  if not own or own.agent ~= command.agent then return { 'not_found' } end
  local chain, is_alive = {}, true
  for i, id in ipairs(own.grants) do
    local grant = id == own.id and own or find_grant(id)
    chain[i] = grant or false
    is_alive = is_alive and grant ~= nil and lives(grant, instant)
  end
  for i = #chain, 1, -1 do
    local cut = chain[i] and find_voiding(chain[i])
    if cut then return cut_off_by(cut) end
  end
  if not is_alive then return { 'ended' } end
  return nil, chain
end

-- `uses` is for the grant and its children together.
local function check_uses(chain, uses)
  if not uses then return end
  for _, grant in ipairs(chain) do
    if grant.uses >= uses then return { 'uses_exhausted', int(uses) } end
  end
end

local function count_uses(chain)
  for _, grant in ipairs(chain) do redis.call('HINCRBY', key('grant:' .. grant.id), 'uses', 1) end
end

-- Of a grant at another system: `grant`, `version`, `state`, `dueAt`, and `text`, which is only kept.
local function put_credential(row)
  redis.call('HSET', key('credentials'), row.grant, int(row.version) .. ' ' .. row.state .. ' ' .. int(row.dueAt) .. ' ' .. row.text)
  redis.call('ZADD', key('credentials:due'), int(row.dueAt), row.grant)
  redis.call('ZADD', key('credentials:ids'), 0, row.grant)
end

-- Holds ---------------------------------------------------------------------------------------------------------------
-- `hold:<id>` is a hash: `draft` is the text that came, `subject` what cut-offs are held against (the chain of grants
-- ends with its grant and itself). When it is looked at again is the score in `holds:due`, and in `holds:firing`. What is
-- live, also by its fingerprint, is in `holds:live…` and `holds:same`; so what has ended is found by none of these.

local HOLD = { 'agent', 'grant', 'kind', 'fingerprint', 'state', 'version', 'lease_token', 'subject', 'resources' }

-- What scripts decide by, or nil.
local function find_hold(id)
  local values = redis.call('HMGET', key('hold:' .. id), unpack(HOLD))
  if not values[1] then return nil end
  local hold = { id = id }
  for i, name in ipairs(HOLD) do hold[name] = values[i] or nil end
  hold.version = tonumber(hold.version)
  hold.subject = cjson.decode(hold.subject)
  hold.parents = {}
  for i = 1, #hold.subject.grants - 2 do hold.parents[i] = hold.subject.grants[i] end
  return hold
end

-- Adds the hold to an answer, in the order of `holdOf` in hold-rows.ts; then person and signature of each approval.
local function add_hold_reply(answer, id)
  local values = redis.call('HMGET', key('hold:' .. id), 'draft', 'state', 'state_at', 'ended_by', 'why', 'lease_token',
    'lease_until', 'outcome', 'readable', 'version')
  for i = 1, #values do answer[#answer + 1] = values[i] end
  for _, text in ipairs(redis.call('HGETALL', key('hold:' .. id .. ':approvals'))) do answer[#answer + 1] = text end
  return answer
end

-- The waiting hold that is not the one that was looked at.
local function is_waiting(hold)
  return hold and hold.version == command.version and hold.state == 'waiting'
end

-- The instant of a request that must wait: not before its own, which its id carries. nil where that is after the instant
-- of any cut-off that could be made at this moment: none would void what has such an id.
local function take_request_instant()
  local instant = take_instant()
  if command.at <= math.max(instant, meta.last_before + 1) then return math.max(instant, command.at) end
end

-- What stands in the way of another one. `existing` comes with the id of the live one that is the same; one that a
-- cut-off covers is over, though nobody has written it down.
local function check_new_hold(new)
  local same = redis.call('HGET', key('holds:same'), new.fingerprint)
  if same and not find_voiding(find_hold(same).subject) then return { 'existing', same } end
  if command.at <= meta.last_before then return { 'instant_behind', int(meta.last_before) } end
  if redis.call('ZCARD', key('holds:live:' .. new.agent)) >= new.perAgent then
    return { 'too_many_holds', int(new.perAgent) }
  end
  -- It has its id already, so that the digest can cover it; drawn twice, it must not take the other's place.
  if redis.call('EXISTS', key('hold:' .. new.id)) == 1 then return { 'exists', new.id } end
end

-- Follows the event. The fingerprint is this one's from here on.
local function add_hold(new, instant)
  redis.call('HSET', key('hold:' .. new.id), 'draft', new.text, 'agent', new.agent, 'task', new.task,
    'upstream', new.upstream, 'grant', new.grant, 'kind', new.kind, 'fingerprint', new.fingerprint,
    'subject', new.subject, 'resources', new.resources, 'state', 'waiting', 'state_at', int(instant), 'readable', '0',
    'version', '1')
  if new.sealedRequest then
    redis.call('HSET', key('hold:' .. new.id .. ':sealed'), 'sealed_request', new.sealedRequest)
  end
  for _, name in ipairs({ 'holds', 'holds:live', 'holds:agent:' .. new.agent, 'holds:live:' .. new.agent }) do
    redis.call('ZADD', key(name), 0, new.id)
  end
  redis.call('ZADD', key('holds:due'), int(new.wakeAt), new.id)
  redis.call('HSET', key('holds:same'), new.fingerprint, new.id)
  for _, resource in ipairs(cjson.decode(new.resources)) do redis.call('ZADD', key('holds:of:' .. resource), 0, new.id) end
  raise_limits(new.keepUntil, 0)
  tell('waiting')
end

-- It leaves all that finds what lives. A held grant ends with a hold that ends without having fired.
local function drop_live_hold(hold, state, instant)
  redis.call('ZREM', key('holds:live'), hold.id)
  redis.call('ZREM', key('holds:live:' .. hold.agent), hold.id)
  redis.call('ZADD', key('holds:ended'), int(instant), hold.id)
  if redis.call('HGET', key('holds:same'), hold.fingerprint) == hold.id then
    redis.call('HDEL', key('holds:same'), hold.fingerprint)
  end
  for _, resource in ipairs(cjson.decode(hold.resources)) do redis.call('ZREM', key('holds:of:' .. resource), hold.id) end
  local grant = hold.kind == 'grant' and state ~= 'done' and find_grant(hold.grant)
  if grant and grant.hold == hold.id and is_held(grant) then end_grant(grant.id, instant, hold.id) end
end

-- `lease`: { token, ends_at }, of one that fires; `wake_at`: of one that waits.
local function move_hold(hold, to, instant, wake_at, lease)
  local name = key('hold:' .. hold.id)
  redis.call('HSET', name, 'state', to.state, 'state_at', int(instant))
  redis.call('HDEL', name, 'ended_by', 'why', 'lease_token', 'lease_until', 'lease_broker')
  if to.endedBy then redis.call('HSET', name, 'ended_by', to.endedBy) end
  if to.why then redis.call('HSET', name, 'why', to.why) end
  redis.call('HINCRBY', name, 'version', 1)
  redis.call('ZREM', key('holds:due'), hold.id)
  redis.call('ZREM', key('holds:firing'), hold.id)
  if to.state == 'waiting' then
    redis.call('ZADD', key('holds:due'), int(type(wake_at) == 'number' and wake_at or instant), hold.id)
  elseif to.state == 'firing' then
    redis.call('HSET', name, 'lease_token', lease.token, 'lease_until', int(lease.ends_at), 'lease_broker', command.broker)
    redis.call('ZADD', key('holds:firing'), int(lease.ends_at), hold.id)
  else
    drop_live_hold(hold, to.state, instant)
  end
  tell('waiting')
end

-- In the order of the port: the refusal, or nil, the hold and the instant. What follows it cannot refuse but for what
-- the hold is of.
local function check_claim()
  local refused = check_clock()
  if refused then return refused end
  local hold = find_hold(command.id)
  for _, name in ipairs(hold and hold.subject.agents or {}) do
    refused = check_standing(command.policyDigest, name)
    if refused then return refused end
  end
  if not is_waiting(hold) then return { 'conflict' } end
  local cut = find_voiding(hold.subject) or find_cut_parent(hold.parents)
  if cut then return cut_off_by(cut) end
  local instant = take_instant()
  -- What is no number is never.
  local is_early = type(command.notBefore) ~= 'number' or instant < command.notBefore
  if is_early then return { 'too_early', int(instant) } end
  return nil, hold, instant
end

local WOKEN_AT_ONCE = 500

-- Wakes at most so many of what waits for a backup of the resource, by id, after `after`; `wakings` has where to go on.
-- Each gets a version of its own: who looked before the statement came must not put off the next look.
local function wake_holds(resource, after, limit, instant)
  local from = after == '' and '-' or '(' .. after
  local ids = redis.call('ZRANGEBYLEX', key('holds:of:' .. resource), from, '+', 'LIMIT', 0, limit)
  local woken = 0
  for _, id in ipairs(ids) do
    local wake_at = redis.call('ZSCORE', key('holds:due'), id)
    if wake_at then
      if tonumber(wake_at) > instant then redis.call('ZADD', key('holds:due'), int(instant), id) end
      redis.call('HINCRBY', key('hold:' .. id), 'version', 1)
      woken = woken + 1
    end
  end
  if #ids < limit then
    redis.call('HDEL', key('wakings'), resource)
  else
    redis.call('HSET', key('wakings'), resource, ids[#ids] or after)
  end
  return woken, #ids
end
