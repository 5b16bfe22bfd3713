-- A person accepts what the store lost: it gives again from here on. Whatever was granted, asked or signed before is void:
-- what was ended, used or refused by then may be among what was lost. A later epoch says that this happened.
if is_replayed(command.proof) then return { 'proof_replayed' } end
if meta.went_back == '' then return { 'not_needed' } end
local noticed = tonumber(string.match(meta.went_back, '%d+$'))

-- No instant and no number of the feed is given twice.
meta.instant = math.max(meta.instant, command.known.instant)
if command.known.feed > meta.feed_number then set_meta('feed_number', command.known.feed) end
raise_limits(math.max(command.keepUntil, meta.latest_expiry), 0)
local number, cut = add_cut_off(command.target)
place({ command.recovered }, cut.before, { 'revocation', cut.id })
set_meta('epoch', math.max(meta.epoch, command.known.epoch) + 1)
set_meta('recovered_at', cut.before)
-- Also those that were used ahead of their time, by as much as clocks may differ.
set_meta('proofs_after', math.max(cut.before, noticed + TOLERANCE_MS))
set_meta('went_back', '')
for _, topic in ipairs({ 'frozen', 'keys', 'secrets', 'policy', 'waiting' }) do tell(topic) end
return done({ 'recovered', number, cut.row, int(meta.epoch), int(meta.proofs_after) })
