-- A store that is empty, and of which no broker runs, is to be filled: from here on it answers to who fills it alone. With
-- `force` what another run has left is taken over, to be removed by `wipe.lua`.
for _, broker in ipairs(redis.call('ZRANGEBYSCORE', key('brokers'), int(wall_clock() - command.seconds * 1000), '+inf')) do
  return { 'running', broker }
end
local other = redis.call('HGET', key('meta'), 'loading')
if other and not command.force then return { 'left', other } end
for _, name in ipairs(other and {} or { 'drafts', 'record', 'master_key_check', 'keys', 'grants', 'holds', 'cutoffs',
  'past_cutoffs', 'secrets', 'secret_versions', 'canaries', 'frozen', 'cursors', 'credentials', 'proofs', 'attestations' }) do
  if redis.call('EXISTS', key(name)) == 1 then return { 'used' } end
end
redis.call('HSET', key('meta'), 'loading', command.load, 'layout', int(command.layout))
return done({ 'begun' })
