-- A job waits for a time to be tried again.
-- KEYS: stream, job, delayed, their jobs, progress, batch.
-- ARGV: group, entry, id, when it is due in milliseconds, `i` or `b` for its priority, reason, whether it counts as a failure, now, seconds to keep counts.
local job = job_of(KEYS[1], ARGV[2])
if not job or redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[2])
local known = redis.call('HMGET', KEYS[2], 'report', 'state')
-- Another delivery of the same job has finished it meanwhile.
if known[1] and known[2] ~= 'delivering' then
  return 0
end
redis.call('HSET', KEYS[4], ARGV[3], ARGV[5] .. ' ' .. job)
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
if ARGV[7] == '1' then
  redis.call('HINCRBY', KEYS[2], 'failures', 1)
end
if known[2] ~= 'delivering' then
  redis.call('HSET', KEYS[2], 'state', 'delayed')
end
redis.call('HSET', KEYS[2], 'reason', ARGV[6], 'at', ARGV[8])
count({KEYS[5], KEYS[6]}, 'put_back', ARGV[8], ARGV[9])
return 1
