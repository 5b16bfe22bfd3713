-- Keeps a decoy. `canaries` has a row of each: when it came, and JSON.
local refused = check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
if redis.call('HEXISTS', key('canaries'), command.id) == 1 then return { 'exists' } end

write_placed(command.proof, { command.event }, instant)
redis.call('HSET', key('canaries'), command.id, int(instant) .. ' ' .. command.text)
tell('secrets')
return done({ 'added', int(instant) })
