-- Adds signing keys and moves others. `keys` has a row of each: state, when it came, when it took its state, JSON.
-- A key that is retired gets a number in the feed, and loses its sealed half: nothing may sign with it again.
local refused = check_proof(command.proof)
if refused then return refused end
local instant = take_instant()

local states = {}
local function state_of(id)
  if states[id] then return states[id] end
  local row = redis.call('HGET', key('keys'), id)
  return row and string.match(row, '^%S+')
end
for _, new in ipairs(command.add) do
  if state_of(new.id) then return { 'exists', new.id } end
  if new.state == 'retired' then return { 'added_retired', new.id } end
  states[new.id] = new.state
end
for _, move in ipairs(command.moves) do
  local present = state_of(move.id)
  if not present then return { 'missing', move.id } end
  if present == 'retired' then return { 'retired', move.id } end
  states[move.id] = move.state
end
-- One signs, and one is next: whoever planned with older keys plans again.
local taken = {}
local function take(id, state, purpose)
  state = states[id] or state
  local place = state .. ' ' .. purpose
  if (state == 'active' or state == 'next') and taken[place] then return place end
  taken[place] = true
end
local rows = redis.call('HGETALL', key('keys'))
for i = 1, #rows, 2 do
  local state, text = string.match(rows[i + 1], '^(%S+) %d+ %d+ (.*)$')
  local place = state ~= 'retired' and take(rows[i], state, cjson.decode(text).purpose)
  if place then return { 'two_keys', place } end
end
for _, new in ipairs(command.add) do
  local place = take(new.id, new.state, cjson.decode(new.text).purpose)
  if place then return { 'two_keys', place } end
end

write_placed(command.proof, command.events, instant)
for _, new in ipairs(command.add) do
  redis.call('HSET', key('keys'), new.id, new.state .. ' ' .. int(instant) .. ' ' .. int(instant) .. ' ' .. new.text)
  redis.call('HSET', key('sealed_keys'), new.id, new.sealed)
end
tell('keys')
local answer = { 'changed', int(instant) }
for _, move in ipairs(command.moves) do
  local made, text = string.match(redis.call('HGET', key('keys'), move.id), '^%S+ (%d+) %d+ (.*)$')
  redis.call('HSET', key('keys'), move.id, move.state .. ' ' .. made .. ' ' .. int(instant) .. ' ' .. text)
  if move.state == 'retired' then
    local number = meta.feed_number + 1
    set_meta('feed_number', number)
    redis.call('HDEL', key('sealed_keys'), move.id)
    redis.call('ZADD', key('retired_keys'), int(number), move.id)
    tell('feed')
    answer[#answer + 1] = move.id
    answer[#answer + 1] = int(number)
  end
end
return done(answer)
