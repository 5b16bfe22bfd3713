-- Orders the credential of a grant at another system: checked as a gateway call is, on record and kept before anything is
-- done there. `credentials` has a row of each grant: version, state, when it is due, and JSON. What a row becomes that is
-- there already was worked out by the caller, of the version that it saw.
local instant = take_instant()
local refused = check_call(instant)
if refused then return refused end
local row = redis.call('HGET', key('credentials'), command.grant)
local version, state, due = string.match(row or '0 - 0 ', '^(%d+) (%S+) (%d+) ')
if tonumber(version) ~= command.seen_version then return { 'changed' } end
if row and state ~= 'live' and not (state == 'making' and tonumber(due) <= instant) then return { 'busy' } end

write_placed(nil, { command.event }, instant)
put_credential(command)
return done({ 'ordered', int(instant) })
