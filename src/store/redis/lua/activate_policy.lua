-- Puts a policy in force: from then on what was decided under another is refused. `replaces`: only where this one is in
-- force until then, '' for none. By a person not in a store that went back: a broker that starts puts in force what it has.
local refused = command.proof and check_went_back() or check_proof(command.proof)
if refused then return refused end
if command.replaces and command.replaces ~= meta.policy_digest then return { 'conflict', meta.policy_digest } end
local instant = take_instant()
write_placed(command.proof, { command.event }, instant)
set_meta('policy_digest', command.digest)
set_meta('policy_swept', '')
tell('policy')
return done({ 'activated', int(instant) })
