-- Removes a secret or a decoy: the row of `id` in `secrets` or `canaries`. Not there: the proof is consumed, without an
-- entry.
local refused = check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
local is_there = redis.call('HEXISTS', key(command.from), command.id) == 1

write_placed(command.proof, is_there and { command.event } or {}, instant)
redis.call('HDEL', key(command.from), command.id)
tell('secrets')
return done({ is_there and 'deleted' or 'not_found', int(instant) })
