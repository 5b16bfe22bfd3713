-- Writes the hold of a call that must wait, and counts the call. The same one that lives is told again, unchanged.
local new = command.hold
local instant = take_request_instant()
if not instant then return { 'clock_ahead' } end
local refused, chain = check_call(instant)
if refused then return refused end
local stopped = check_new_hold(new)
if stopped and stopped[1] == 'existing' then return add_hold_reply({ 'existing' }, stopped[2]) end
refused = stopped or check_uses(chain, command.uses) or check_limit(command.limit, instant)
if refused then return refused end

write_placed(nil, { command.event }, instant)
count_uses(chain)
add_hold(new, instant)
add_use(command.limit, instant)
return done({ 'held', int(instant) })
