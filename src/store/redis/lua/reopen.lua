-- Lifts every closure of the named cut-off's grant or task; revives nothing. As many as there are: a person made each.
local refused = check_went_back() or check_proof(command.proof)
if refused then return refused end
local instant = take_instant()
local named = redis.call('HGET', key('cutoff_ids'), command.id)
local cut = named and parse_cut(redis.call('HGET', key('cutoffs'), named))
if not cut or is_over(cut, instant) then return { 'not_found' } end

write_placed(command.proof, cut.closed and { command.event } or {}, instant)
if not cut.closed then return done({ 'not_closed', named, '0 ' .. cut.rest }) end
for _, number in ipairs(redis.call('ZRANGE', closing_of(cut.target), 0, -1)) do
  local each = parse_cut(redis.call('HGET', key('cutoffs'), number))
  lift_closure(tonumber(number), each)
  each.closed = false
  write_cut(tonumber(number), each)
end
return done({ 'reopened', named, '0 ' .. cut.rest })
