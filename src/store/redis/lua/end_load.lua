-- All of it is there, or nothing: from here on brokers may open it.
if redis.call('HGET', key('meta'), 'loading') ~= command.load then return { 'other' } end
redis.call('HDEL', key('meta'), 'loading')
return done({ 'ended' })
