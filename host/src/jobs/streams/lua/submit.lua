-- A job is queued, unless it is known: then nothing happens but that one which failed is tried anew.
-- KEYS: stream, job, progress, batch. ARGV: job's JSON, now, function, seconds to keep counts.
-- Returns `new`, or the state in which it is.
local state = redis.call('HGET', KEYS[2], 'state')
if state and state ~= 'failed' then
  return state
end
-- The first write, so that a Redis without memory takes no more.
redis.call('XADD', KEYS[1], '*', 'job', ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'state', 'queued', 'function', ARGV[3], 'at', ARGV[2])
count({KEYS[3], KEYS[4]}, 'submitted', ARGV[2], ARGV[4])
return 'new'
