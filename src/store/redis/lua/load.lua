-- Writes rows of a dump into a store that is being filled, as the transitions would have left them: `load-rows.ts` has
-- what comes of each kind. Indexes and counters follow from the rows.
if redis.call('HGET', key('meta'), 'loading') ~= command.load then return { 'other' } end

local function add(name, score, member)
  redis.call('ZADD', key(name), int(score), member)
end

local function set(name, field, value)
  if value ~= nil then redis.call('HSET', key(name), field, type(value) == 'number' and int(value) or value) end
end

local write = {}

function write.grant(row)
  write_grant(row.id, row.grant, row.endsAt, row.hold)
  set('grant:' .. row.id, 'uses', row.uses)
  set('grant:' .. row.id, 'version', row.version)
  set('grant:' .. row.id, 'ended_at', row.endedAt)
  set('grant:' .. row.id, 'ended_by', row.endedBy)
  if row.hold and row.endsAt > 0 then add('activated', row.endsAt, row.id) end
end

function write.hold(row)
  local new, name = row.hold, 'hold:' .. row.hold.id
  redis.call('HSET', key(name), 'draft', new.text, 'agent', new.agent, 'task', new.task, 'upstream', new.upstream,
    'grant', new.grant, 'kind', new.kind, 'fingerprint', new.fingerprint, 'subject', new.subject,
    'resources', new.resources, 'state', row.state, 'state_at', int(row.stateAt), 'readable', row.readable,
    'version', int(row.version))
  for field, value in pairs(row.rest) do set(name, field, value) end
  for field, value in pairs(row.sealed) do set(name .. ':sealed', field, value) end
  for person, text in pairs(row.approvals) do set(name .. ':approvals', person, text) end
  add('holds', 0, new.id)
  add('holds:agent:' .. new.agent, 0, new.id)
  if row.state ~= 'waiting' and row.state ~= 'firing' then
    add('holds:ended', row.stateAt, new.id)
    return
  end
  add('holds:live', 0, new.id)
  add('holds:live:' .. new.agent, 0, new.id)
  if row.isSame then set('holds:same', new.fingerprint, new.id) end
  for _, resource in ipairs(cjson.decode(new.resources)) do add('holds:of:' .. resource, 0, new.id) end
  if row.state == 'waiting' then add('holds:due', row.wakeAt, new.id) else add('holds:firing', row.wakeAt, new.id) end
end

function write.attestation(row)
  local same = row.statement .. ' ' .. row.resource
  redis.call('HSET', key('attestation:' .. row.id), 'resource', row.resource, 'same', same, 'text', row.text)
  set('attestations:same', same, row.id)
  add('attestations', row.takenAt, row.id)
  add('attestations:' .. row.resource, row.takenAt, row.id)
end

function write.cut_off(row)
  local cut = {
    closed = row.closed, id = row.id, before = row.before, kept_until = row.keptUntil, target = row.target,
    rest = row.id .. ' ' .. int(row.before) .. ' ' .. int(row.keptUntil) .. ' ' .. row.text,
  }
  if not row.isForgotten then return write_new_cut(row.number, cut) end
  set('past_cutoffs', int(row.number), (cut.closed and '1 ' or '0 ') .. cut.rest)
  add('past:' .. name_of(cut.target), cut.before, padded(row.number))
  add('cutoffs_past', cut.kept_until, int(row.number))
  redis.call('ZADD', key('cutoffs_forgotten'), next_version(), int(row.number))
end

function write.store(row)
  redis.call('SET', key('master_key_check'), row.masterKeyCheck)
  for name, value in pairs(row.meta) do set_meta(name, value) end
end

function write.key(row)
  set('keys', row.id, row.row)
  set('sealed_keys', row.id, row.sealed)
  if row.retiredNumber then add('retired_keys', row.retiredNumber, row.id) end
end

-- Rows that are one field of a hash: secrets and their versions, decoys, frozen agents, cursors.
function write.field(row)
  set(row.of, row.name, row.value)
end

function write.credential(row)
  put_credential(row)
end

function write.open_call(row)
  add('open_calls', row.seq, row.call)
end

function write.proof(row)
  if redis.call('ZADD', key(row.isLate and 'late_proofs' or 'proofs'), int(row.forgetAt), row.key) == 1 then
    count_proof(row.key, 1)
  end
end

function write.use(row)
  local name = row.agent .. ' ' .. row.role
  redis.call('RPUSH', key('uses:' .. name), int(row.instant))
  add('uses', row.instant, name)
end

function write.entry(row)
  meta.seq = meta.seq + 1
  redis.call('XADD', key('record'), int(meta.seq) .. '-0', 'leaf', row.text, 'hash', row.hash)
  redis.call('HSET', key('meta'), 'seq', int(meta.seq), 'sealed_seq', int(meta.seq), 'sealed_hash', row.hash,
    'last', row.random)
end

for _, row in ipairs(command.rows) do write[row.kind](row) end
return done({ 'loaded' })
