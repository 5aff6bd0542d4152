-- A dead letter goes back to its stream, as if it had never been tried; what was no job stays.
-- KEYS: dead letters, stream of batch jobs, stream of interactive jobs. ARGV: entry, what keys of jobs begin with.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not entry[1] then
  return 0
end
local fields = {}
for at = 1, #entry[1][2], 2 do
  fields[entry[1][2][at]] = entry[1][2][at + 1]
end
if not fields.id or not fields.job then
  return 0
end
local key = ARGV[2] .. fields.id
local known = redis.call('HMGET', key, 'report', 'state')
local state = known[2]
-- It was submitted anew, or another letter of it was queued: one of them is enough.
if state and state ~= 'failed' and not (state == 'done' and redis.call('HEXISTS', key, 'reason') == 1) then
  redis.call('XDEL', KEYS[1], ARGV[1])
  return 0
end
-- One whose report could not be delivered keeps it.
if known[1] and state == 'done' then
  redis.call('HSET', key, 'state', 'delivering')
  redis.call('HDEL', key, 'reason', 'failures')
  redis.call('PERSIST', key)
else
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', 'queued')
end
local stream = KEYS[2]
if fields.priority == 'interactive' then
  stream = KEYS[3]
end
redis.call('XADD', stream, '*', 'job', fields.job)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
