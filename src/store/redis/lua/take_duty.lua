-- Makes a duty this broker's until some seconds from now, where it is nobody else's. `duties` has of each who and until when.
local holder, until_then = string.match(redis.call('HGET', key('duties'), command.duty) or '', '^(%S+) (%d+)$')
local now = wall_clock()
if holder and holder ~= command.broker and tonumber(until_then) > now then return { 'taken', holder } end
redis.call('HSET', key('duties'), command.duty, command.broker .. ' ' .. int(now + command.seconds * 1000))
return { 'ours' }
