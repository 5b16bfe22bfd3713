-- What is in this store, asked once by each broker that opens it: whether it is empty, and how its keys are laid out. The
-- layout of an empty one is the newest that the first broker knows.
local is_empty = redis.call('HEXISTS', key('meta'), 'seq') == 0 and redis.call('EXISTS', key('master_key_check')) == 0
redis.call('HSETNX', key('meta'), 'layout', int(command.layout))
return { is_empty and 'empty' or 'used', redis.call('HGET', key('meta'), 'layout') }
