-- Makes a waiting call fire, for exactly one caller, who then has the lease. A held grant fires by `activate.lua` alone.
local refused, hold, instant = check_claim()
if refused then return refused end
if hold.kind ~= 'call' then return { 'conflict' } end

local lease = { token = command.lease.token, ends_at = instant + command.lease.seconds * 1000 }
write_placed(nil, { command.event }, instant)
move_hold(hold, { state = 'firing' }, instant, nil, lease)
return done(add_hold_reply({ 'claimed', int(instant) }, hold.id))
