-- Reads these fields of a page of rows, which are hashes whose names begin with `rows`: of those named by `ids`, or of the
-- ids in an index from `from` to `to` (as ZRANGEBYLEX has them; `newest`: from the last one down), at most `count`, which
-- is some hundreds. Writes nothing.
-- One text with a line for each id and each value, because many small ones would cost the server and the broker five times
-- as much. INVARIANT: no value has a line break, and none is empty (JSON texts, numbers, ids and names; see look.ts).
local ids = command.ids
if not ids then
  local order = command.newest and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX'
  ids = redis.call(order, key(command.index), command.from, command.to, 'LIMIT', 0, command.count)
end
local lines, count = {}, 0
for _, id in ipairs(ids) do
  count = count + 1
  lines[count] = id
  local values = redis.call('HMGET', key(command.rows .. id), unpack(command.fields))
  for i = 1, #values do
    count = count + 1
    lines[count] = values[i] or ''
  end
end
return { 'looked', table.concat(lines, '\n') }
