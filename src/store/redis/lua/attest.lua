-- Keeps statements on backups, each once, and wakes what waits for one of its resource: the first some hundred here, and
-- the others by `wake.lua`. `attestations` has all by when the backups were taken, `attestations:<resource>` those of one.
local refused = check_proof(command.proof)
if refused then return refused end
if redis.call('HEXISTS', key('frozen'), command.agent) == 1 then return { 'agent_frozen' } end
local instant = take_instant()

local answer, holds, proof, room = { 'attested', '0' }, 0, command.proof, WOKEN_AT_ONCE
for _, new in ipairs(command.attestations) do
  -- A statement is a digest.
  local same = new.statement .. ' ' .. new.resource
  local id = redis.call('HGET', key('attestations:same'), same)
  if not id then
    id = make_id('att', instant, new.random)
    write_placed(proof, { new.event }, instant, { 'attestation', id })
    proof = nil
    redis.call('HSET', key('attestation:' .. id), 'resource', new.resource, 'same', same, 'text', new.text)
    redis.call('HSET', key('attestations:same'), same, id)
    redis.call('ZADD', key('attestations'), int(new.takenAt), id)
    redis.call('ZADD', key('attestations:' .. new.resource), int(new.takenAt), id)
    local woken, looked_at = wake_holds(new.resource, '', room, instant)
    holds, room = holds + woken, room - looked_at
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', key('attestation:' .. id), 'text')
end
if proof then write_placed(proof, {}, instant) end
tell('waiting')
answer[2] = int(holds)
return done(answer)
