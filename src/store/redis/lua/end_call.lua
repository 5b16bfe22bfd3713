-- Writes down what became of an open call. Never refused for a clock: what has happened must be written.
if not redis.call('ZSCORE', key('open_calls'), command.call) then return { 'not_open' } end

write_placed(nil, { command.event }, take_instant())
redis.call('ZREM', key('open_calls'), command.call)
redis.call('HDEL', key('open_call_brokers'), command.call)
return done({ 'ended' })
