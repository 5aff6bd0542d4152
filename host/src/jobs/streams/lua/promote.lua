-- Jobs whose time has come go to the end of their streams.
-- KEYS: delayed, their jobs, stream of batch jobs, stream of interactive jobs. ARGV: now in milliseconds, most jobs.
-- Not even a Redis without memory keeps them waiting: this write adds nothing, and lets the others be.
redis.call('ZREM', KEYS[1], '')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  local kept = redis.call('HGET', KEYS[2], id)
  if kept then
    local stream = KEYS[3]
    if string.sub(kept, 1, 1) == 'i' then
      stream = KEYS[4]
    end
    redis.call('XADD', stream, '*', 'job', string.sub(kept, 3))
    redis.call('HDEL', KEYS[2], id)
  end
  redis.call('ZREM', KEYS[1], id)
end
return #due
