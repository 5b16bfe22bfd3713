-- Cuts off what `target` names. Never refused for a clock: what stops things must work when minting does not.
if is_replayed(command.proof) then return { 'proof_replayed' } end
local number, cut = add_cut_off(command.target)
return done({ 'cut_off', number, cut.row })
