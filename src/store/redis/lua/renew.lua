-- Records another credential of a live grant of this agent. The grant is not changed.
local instant = take_instant()
local refused = check_basics(command.proof, command.policyDigest, command.agent)
if refused then return refused end
local grant = find_grant(command.id)
if not grant or grant.agent ~= command.agent then return { 'not_found' } end
local cut = find_voiding(grant)
if cut then return cut_off_by(cut) end
if is_held(grant) then return { 'held_back', grant.hold } end
if not lives(grant, instant) then return { 'ended' } end

write_placed(command.proof, { command.event }, instant)
return done({ 'renewed', int(instant), unpack(grant_reply(grant.id)) })
