-- Writes a grant that must wait, and its hold. Both ids carry the instant of the request. The same one that lives is told
-- again: then the proof is consumed, and nothing is counted.
local new, grant = command.hold, command.grant
local instant = take_request_instant()
if not instant then return { 'clock_ahead' } end
local refused = check_basics(command.proof, grant.policyDigest, grant.agent)
if refused then return refused end
local closing = find_closing(request_subject(grant))
if closing then return cut_off_by(closing) end
refused = check_parents(cjson.decode(grant.parents), instant)
if refused then return refused end
local stopped = check_new_hold(new)
if stopped and stopped[1] == 'existing' then
  local same = find_hold(stopped[2])
  write_placed(command.proof, {}, instant)
  local answer = { 'existing' }
  for i, text in ipairs(grant_reply(same.grant)) do answer[i + 1] = text end
  return done(add_hold_reply(answer, same.id))
end
refused = stopped or check_limit(command.limit, instant)
if refused then return refused end
if redis.call('EXISTS', key('grant:' .. new.grant)) == 1 then return { 'exists', new.grant } end

write_placed(command.proof, { command.event }, instant)
write_grant(new.grant, grant, 0, new.id)
add_hold(new, instant)
add_use(command.limit, instant)
return done({ 'held', int(instant) })
