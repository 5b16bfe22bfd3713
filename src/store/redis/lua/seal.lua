-- Links the oldest entries that are not linked yet, as a broker has worked them out. Another broker was first: nothing.
-- `leaves`: { hash, text } in order, after `after`.
local sealed = tonumber(redis.call('HGET', key('meta'), 'sealed_seq') or '0')
if sealed ~= command.after then return { 'behind', int(sealed) } end
for i, leaf in ipairs(command.leaves) do
  redis.call('XADD', key('record'), int(sealed + i) .. '-0', 'leaf', leaf.text, 'hash', leaf.hash)
end
local last = sealed + #command.leaves
redis.call('HSET', key('meta'), 'sealed_seq', int(last), 'sealed_hash', command.leaves[#command.leaves].hash)
redis.call('XTRIM', key('drafts'), 'MINID', int(last + 1) .. '-0')
return { 'sealed', int(last) }
