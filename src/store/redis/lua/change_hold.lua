-- Changes a waiting hold where it is still of the version that was looked at: another state, a signature, when to look
-- again. What ends it is never refused for a clock; a late proof then is one that was not used.
local to, approval = command.to, command.approval
local refused = check_proof(command.proof)
local is_stop = to and to.state ~= 'waiting'
if is_stop and refused and refused[1] == 'clock_behind' then
  refused = is_replayed(command.proof) and { 'proof_replayed' } or nil
end
if refused then return refused end
local hold = find_hold(command.id)
if not is_waiting(hold) then return { 'conflict' } end
local approvals = key('hold:' .. hold.id .. ':approvals')
if approval and redis.call('HEXISTS', approvals, approval.person) == 1 then return { 'conflict' } end

local instant = take_instant()
write_placed(command.proof, command.event and { command.event } or {}, instant)
if approval then redis.call('HSET', approvals, approval.person, int(instant) .. ' ' .. approval.text) end
if to then
  move_hold(hold, to, instant, command.wakeAt)
else
  if type(command.wakeAt) == 'number' then redis.call('ZADD', key('holds:due'), int(command.wakeAt), hold.id) end
  -- A look that found nothing new makes no new version: nobody who has read it has to read it again.
  if approval or command.event then
    redis.call('HINCRBY', key('hold:' .. hold.id), 'version', 1)
    tell('waiting')
  end
end
if type(command.keepUntil) == 'number' then raise_limits(command.keepUntil, 0) end
return done(add_hold_reply({ 'changed', int(instant) }, hold.id))
