-- Cuts off the agent's grants and closes the agent, at once. Frozen already: a further cut-off. Never refused for a clock.
if is_replayed(command.proof) then return { 'proof_replayed' } end
local number, cut = add_cut_off(command.target)
redis.call('HSET', key('frozen'), command.agent, cut.id)
tell('frozen')
return done({ 'frozen', number, cut.row })
