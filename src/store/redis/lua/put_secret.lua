-- Puts a sealed secret in place of any other of its name. `secrets` has a row of each: when it came, and JSON.
-- `secret_versions` outlives the secret: a version is never given twice.
local refused = check_went_back() or check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
local last = tonumber(redis.call('HGET', key('secret_versions'), command.name) or '0')
if command.version ~= last + 1 then return { 'conflict' } end

write_placed(command.proof, { command.event }, instant)
redis.call('HSET', key('secrets'), command.name, int(instant) .. ' ' .. command.text)
redis.call('HSET', key('secret_versions'), command.name, int(command.version))
tell('secrets')
return done({ 'put', int(instant) })
