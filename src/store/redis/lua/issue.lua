-- Gives a grant. Its instant is after every cut-off's, so that none voids what was given after it.
local grant = command.grant
local instant = math.max(take_instant(), meta.last_before + 1)
local refused = check_basics(command.proof, grant.policyDigest, grant.agent)
if refused then return refused end
local closing = find_closing(request_subject(grant))
if closing then return cut_off_by(closing) end
local parents_end
refused, parents_end = check_parents(cjson.decode(grant.parents), instant)
refused = refused or check_limit(command.limit, instant)
if refused then return refused end
local id = make_id('grt', instant, grant.random)
-- Drawn twice: it must not take the other's place.
if redis.call('EXISTS', key('grant:' .. id)) == 1 then return { 'exists', id } end

local ttl_ms = grant.ttlSeconds * 1000
local ends_at = math.min(instant + ttl_ms, parents_end)
write_placed(command.proof, { command.event }, instant, { 'grant', id })
write_grant(id, grant, ends_at, nil)
add_use(command.limit, instant)
raise_limits(ends_at, ttl_ms)
return done({ 'issued', id, int(instant), int(ends_at) })
