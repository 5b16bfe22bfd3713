-- Takes the sealed outcome of a hold out, once. Where there is none the proof is consumed all the same.
local refused = check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
local name = key('hold:' .. command.id .. ':sealed')
local sealed = redis.call('HGET', name, 'sealed_outcome')

write_placed(command.proof, sealed and { command.event } or {}, instant)
if not sealed then return done({ 'not_found' }) end
redis.call('HDEL', name, 'sealed_outcome')
redis.call('HSET', key('hold:' .. command.id), 'readable', '0')
redis.call('HINCRBY', key('hold:' .. command.id), 'version', 1)
return done(add_hold_reply({ 'taken', sealed }, command.id))
