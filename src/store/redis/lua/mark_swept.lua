-- Narrowing was completed for this policy.
set_meta('policy_swept', command.digest)
return done({ 'marked' })
