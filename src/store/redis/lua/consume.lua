-- Consumes the proof of a read: it was not seen before, also by no write, refused ones included. The instant goes on, so
-- that what reads leave is forgotten where nothing is written.
local proof = command.proof
local instant = take_instant()
if is_replayed(proof) or redis.call('ZSCORE', key('tried_proofs'), proof.key) then return { 'seen' } end

local function find_full()
  if tonumber(redis.call('HGET', key('meta'), 'proofs') or '0') >= MAX_PROOFS then return 'full' end
  local principal = string.match(proof.key, '^[^ ]*')
  if tonumber(redis.call('HGET', key('proof_counts'), principal) or '0') >= MAX_PROOFS_OF_ONE then return 'share_full' end
end

if instant > meta.instant then set_meta('instant', instant) end
local full = find_full()
if full and forget_proofs(600) > 0 then full = find_full() end
if full then return { full } end
write_proof(proof, instant)
return done({ 'consumed' })
