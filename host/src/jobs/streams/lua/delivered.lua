-- The report has arrived where it was to be posted, or is given up there.
-- KEYS: stream, job, dead letters. ARGV: group, entry, state, seconds to keep it, reason or nothing, most dead letters, id, priority, now.
write_in_any_case(KEYS[1], ARGV[1])
if redis.call('HGET', KEYS[2], 'state') == 'delivering' then
  redis.call('HSET', KEYS[2], 'state', ARGV[3])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  if ARGV[5] ~= '' then
    redis.call('HSET', KEYS[2], 'reason', ARGV[5])
    local job = job_of(KEYS[1], ARGV[2])
    if job then
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'id', ARGV[7], 'priority', ARGV[8], 'reason', ARGV[5], 'at', ARGV[9],
        'job', job)
    end
  end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])
