-- A held grant fires: it becomes active and its hold is done, in one step. Its life begins here, within its parents'.
local refused, hold, instant = check_claim()
if refused then return refused end
local grant = find_grant(hold.grant)
if not grant or grant.hold ~= hold.id or not is_held(grant) then return { 'conflict' } end
local parents_end = end_of_parents(grant.parents, instant)
if not parents_end then return { 'conflict' } end

write_placed(nil, { command.event }, instant)
local ttl_ms = tonumber(redis.call('HGET', key('grant:' .. grant.id), 'ttl_seconds')) * 1000
local ends_at = math.min(instant + ttl_ms, parents_end)
redis.call('HSET', key('grant:' .. grant.id), 'ends_at', int(ends_at))
redis.call('HINCRBY', key('grant:' .. grant.id), 'version', 1)
redis.call('ZADD', key('activated'), int(ends_at), grant.id)
raise_limits(ends_at, ttl_ms)
move_hold(hold, { state = 'done' }, instant)
local answer = { 'activated' }
for i, text in ipairs(grant_reply(grant.id)) do answer[i + 1] = text end
return done(add_hold_reply(answer, hold.id))
