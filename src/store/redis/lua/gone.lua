-- Which of these brokers were not heard of for so long that what they had under way is nobody's any more. One that nobody
-- knows is gone.
local since = wall_clock() - command.seconds * 1000
local answer = { 'gone' }
for _, broker in ipairs(command.brokers) do
  local seen = redis.call('ZSCORE', key('brokers'), broker)
  if not seen or tonumber(seen) < since then answer[#answer + 1] = broker end
end
return answer
