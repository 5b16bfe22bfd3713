-- What all brokers of this store call themselves: whoever comes alone says it. Another one is there that says otherwise:
-- what it says.
local known = redis.call('HGET', key('meta'), 'issuer')
if known and known ~= command.issuer then
  for _, broker in ipairs(redis.call('ZRANGEBYSCORE', key('brokers'), int(wall_clock() - command.seconds * 1000), '+inf')) do
    if broker ~= command.broker then return { 'other', known } end
  end
end
redis.call('HSET', key('meta'), 'issuer', command.issuer)
return { 'agreed', command.issuer }
