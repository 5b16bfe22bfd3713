-- This broker is there. `brokers` has when each was last; one that was not for a day is forgotten.
local now = wall_clock()
redis.call('ZADD', key('brokers'), int(now), command.broker)
redis.call('ZREMRANGEBYSCORE', key('brokers'), '-inf', int(now - 86400000))
return { 'present' }
