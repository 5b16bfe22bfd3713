-- Writes back a cut-off, or a freeze alone, that a broker knew and the store lost: with its own id and a new number. Never
-- refused for a clock, and only where something was lost since that broker last knew the store (`epoch`): it only stops.
local instant = take_instant()
if meta.went_back == '' and command.epoch >= meta.epoch then return { 'not_needed' } end
local cut, agent = command.cutOff, command.agent

local function is_there()
  if cut and redis.call('HEXISTS', key('cutoff_ids'), cut.id) == 1 then return true end
  return agent ~= nil and redis.call('HEXISTS', key('frozen'), agent) == 1
end
if is_there() then return { 'there' } end
if cut then
  if is_over({ kept_until = cut.keptUntil, closed = cut.closed, target = cut.target }, instant) then return { 'over' } end
end

write_placed(nil, { command.event }, instant)
if agent then
  redis.call('HSET', key('frozen'), agent, command.revocation)
  tell('frozen')
  return done({ 'restored', '0' })
end
if command.feed > meta.feed_number then set_meta('feed_number', command.feed) end
local number = meta.feed_number + 1
-- Not before that of a cut-off with a lower number: it voids a little more, and what gives is stopped anyway.
local before = math.max(cut.before, meta.last_before)
local kept_until = math.max(cut.keptUntil, math.max(meta.latest_expiry, before) + TOLERANCE_MS)
local rest = cut.id .. ' ' .. int(before) .. ' ' .. int(kept_until) .. ' ' .. command.text
set_meta('feed_number', number)
set_meta('last_before', before)
write_new_cut(number, {
  id = cut.id, before = before, kept_until = kept_until, target = cut.target, closed = cut.closed, rest = rest,
})
tell('feed')
return done({ 'restored', int(number) })
