-- Goes on waking what waits for a backup of a resource, after a statement on it. Done with it already: nothing.
local after = redis.call('HGET', key('wakings'), command.resource)
if not after then return { 'woken', '0' } end
local woken = wake_holds(command.resource, after, WOKEN_AT_ONCE, take_instant())
return done({ redis.call('HEXISTS', key('wakings'), command.resource) == 1 and 'more' or 'woken', int(woken) })
