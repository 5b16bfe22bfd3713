-- Changes the credential of a grant at another system where it is still of the version that was looked at; without a
-- version to come it goes. With `endGrantBy` its grant ends. Never refused for the clock, nor in a store that went back:
-- what has happened must be written.
local row = redis.call('HGET', key('credentials'), command.grant)
if not row or tonumber(string.match(row, '^%d+')) ~= command.seen_version then return { 'conflict' } end
local grant = command.endGrantBy and find_grant(command.grant)

local instant = take_instant()
write_placed(nil, command.event and { command.event } or {}, instant)
if grant and not grant.ended_at then end_grant(grant.id, instant, command.endGrantBy) end
if command.version then
  put_credential(command)
else
  redis.call('HDEL', key('credentials'), command.grant)
  redis.call('ZREM', key('credentials:due'), command.grant)
  redis.call('ZREM', key('credentials:ids'), command.grant)
end
return done({ 'changed', int(instant) })
