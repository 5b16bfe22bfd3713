-- Ends the firing of who holds the lease, or lets it wait again where nothing was sent. Never refused for a clock: what has
-- happened must be written.
local hold = find_hold(command.id)
if not hold or hold.state ~= 'firing' or hold.lease_token ~= command.token then return { 'conflict' } end

local instant = take_instant()
write_placed(nil, { command.event }, instant)
move_hold(hold, command.to, instant, command.wakeAt)
local name, sealed = key('hold:' .. hold.id), key('hold:' .. hold.id .. ':sealed')
redis.call('HDEL', name, 'outcome')
redis.call('HDEL', sealed, 'sealed_outcome')
redis.call('HSET', name, 'readable', command.sealedOutcome and '1' or '0')
if command.outcome then redis.call('HSET', name, 'outcome', command.outcome) end
if command.sealedOutcome then redis.call('HSET', sealed, 'sealed_outcome', command.sealedOutcome) end
return done(add_hold_reply({ 'settled' }, hold.id))
