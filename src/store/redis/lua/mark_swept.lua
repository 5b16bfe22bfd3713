-- Narrowing was completed for this policy. Where another is in force by now, that one's is not.
if meta.policy_digest == command.digest then set_meta('policy_swept', command.digest) end
return done({ 'marked' })
