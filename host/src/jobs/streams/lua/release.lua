-- A worker that ends gives back what it has not done.
-- KEYS: stream, job. ARGV: group, entry.
local job = job_of(KEYS[1], ARGV[2])
if not job or redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[1], '*', 'job', job)
if redis.call('HGET', KEYS[2], 'state') == 'running' then
  redis.call('HSET', KEYS[2], 'state', 'queued')
end
return 1
