-- What is no job goes to the dead letters as it is.
-- KEYS: stream, dead letters, progress. ARGV: group, entry, reason, now, most dead letters, seconds to keep counts.
local job = job_of(KEYS[1], ARGV[2])
if not job or redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'reason', ARGV[3], 'at', ARGV[4], 'job', job)
redis.call('XDEL', KEYS[1], ARGV[2])
count({KEYS[3]}, 'failed', ARGV[4], ARGV[6])
return 1
