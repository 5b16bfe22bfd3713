-- This broker goes, with nothing under way: others take its duties at once.
redis.call('ZREM', key('brokers'), command.broker)
local duties = redis.call('HGETALL', key('duties'))
for i = 1, #duties, 2 do
  if string.match(duties[i + 1], '^%S+') == command.broker then redis.call('HDEL', key('duties'), duties[i]) end
end
return { 'left' }
