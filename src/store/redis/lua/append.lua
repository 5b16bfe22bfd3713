-- Adds entries to the record, and consumes the proof when one is given. Without one it is never refused for the clock.
if command.proof then
  local refused = check_proof(command.proof)
  if refused then return refused end
end
local instant = take_instant()
write_placed(command.proof, command.events, instant)
return done({ 'appended', int(instant), int(meta.seq) })
