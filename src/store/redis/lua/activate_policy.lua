-- Puts a policy in force: from then on what was decided under another is refused.
local instant = take_instant()
write_placed(nil, { command.event }, instant)
set_meta('policy_digest', command.digest)
tell('policy')
return done({ 'activated', int(instant) })
