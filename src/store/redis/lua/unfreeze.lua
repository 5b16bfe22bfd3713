-- Lifts a freeze; what was cut off stays so. Not frozen: the proof is consumed, without an entry.
local refused = check_went_back() or check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
local is_frozen = redis.call('HEXISTS', key('frozen'), command.agent) == 1
write_placed(command.proof, is_frozen and { command.event } or {}, instant)
redis.call('HDEL', key('frozen'), command.agent)
tell('frozen')
return done({ is_frozen and 'unfrozen' or 'not_frozen', int(instant) })
