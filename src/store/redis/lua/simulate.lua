-- A dry run: counted and recorded, and gives nothing. Refused as `issue.lua` would refuse it.
local instant = take_instant()
local refused = check_basics(command.proof, command.policyDigest, command.agent)
if refused then return refused end
local asked = { agent = command.agent, task = command.task, role = '', upstream = '', parents = '[]', environments = '[]' }
local closing = find_closing(request_subject(asked))
if closing then return cut_off_by(closing) end
refused = check_limit(command.limit, instant)
if refused then return refused end

write_placed(command.proof, { command.event }, instant)
add_use(command.limit, instant)
return done({ 'simulated', int(instant) })
