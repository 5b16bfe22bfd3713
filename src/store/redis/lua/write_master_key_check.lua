-- Keeps the value that tells the master key, once.
if redis.call('EXISTS', key('master_key_check')) == 1 then return { 'exists' } end
redis.call('SET', key('master_key_check'), command.sealed)
return done({ 'written' })
