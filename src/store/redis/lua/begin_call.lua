-- Begins a call: checked, counted for the whole chain of its grant, on record and open before it is sent. `open_calls` has
-- each by the number of its entry, `open_call_brokers` who makes it. The store's busiest script.
local instant = take_instant()
local refused, chain = check_call(instant)
if refused then return refused end
refused = check_uses(chain, command.uses) or check_limit(command.limit, instant)
if refused then return refused end
if redis.call('ZSCORE', key('open_calls'), command.call) then return { 'exists', command.call } end

write_placed(nil, { command.event }, instant)
redis.call('ZADD', key('open_calls'), int(meta.seq), command.call)
if command.broker then redis.call('HSET', key('open_call_brokers'), command.call, command.broker) end
count_uses(chain)
add_use(command.limit, instant)
return done({ 'begun', int(instant) })
