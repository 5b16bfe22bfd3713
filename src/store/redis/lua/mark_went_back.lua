-- A broker has found by the hashes of the record that this is not the store that it knew. `known`: as `seen`.
if command.known.epoch < meta.epoch then return done({ 'recovered' }) end
if meta.went_back == '' then mark_went_back(command.known) end
return done({ 'marked' })
