-- How far the store is, and whether it went backwards: to be asked by any broker at any time, because the command says
-- how far that broker knows it to have been. `known`: how far an earlier process of the broker knew it.
if meta.went_back == '' and command.known and is_behind(command.known) then mark_went_back(command.known) end
local recovered = redis.call('HGET', key('meta'), 'recovered_at') or '0'
local answer = { 'standing', meta.went_back, recovered, int(meta.instant), int(meta.latest_expiry),
  int(meta.epoch), int(meta.seq) }
return told(answer)
