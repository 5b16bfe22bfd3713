-- Removes a part of what a run has left that did not end: all keys of this store but `meta`, whose mark stays. `cursor` is
-- where to go on, 0 at the first and after the last part.
if redis.call('HGET', key('meta'), 'loading') ~= command.load then return { 'other' } end
local pattern = string.gsub(base, '[%*%?%[%]\\]', '\\%0') .. '*'
local page = redis.call('SCAN', command.cursor, 'MATCH', pattern, 'COUNT', 1000)
for _, name in ipairs(page[2]) do
  if name ~= key('meta') then redis.call('UNLINK', name) end
end
for _, name in ipairs(redis.call('HKEYS', key('meta'))) do
  if name ~= 'loading' and name ~= 'layout' then redis.call('HDEL', key('meta'), name) end
end
return { 'wiped', page[1] }
