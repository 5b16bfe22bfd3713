-- Its own agent ends a grant: this stops something, and is refused for a clock only where the proof is too old. One that
-- has ended: the proof is consumed, without an entry.
local instant = take_instant()
local refused = check_proof(command.proof)
if refused then return refused end
local grant = find_grant(command.id)
if not grant or grant.agent ~= command.agent then return { 'not_found' } end
if is_held(grant) then return { 'held_back', grant.hold } end
local is_over = not lives(grant, instant) or find_voiding(grant) ~= nil

write_placed(command.proof, is_over and {} or { command.event }, instant)
if not is_over then end_grant(grant.id, instant, command.agent) end
return done({ is_over and 'already_ended' or 'released', unpack(grant_reply(grant.id)) })
