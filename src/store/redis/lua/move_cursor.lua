-- Makes or replaces the cursor of a receiver. Never refused for the clock: what was delivered must not be forgotten.
write_placed(nil, command.event and { command.event } or {}, take_instant())
redis.call('HSET', key('cursors'), command.name, command.text)
return done({ 'moved' })
