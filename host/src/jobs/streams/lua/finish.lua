-- A report is stored, once, and whatever hangs on it. Asked for again, it only lets go of the entry.
-- KEYS: stream, job, progress, batch, dead letters, reply.
-- ARGV: group, entry, report, state (`done`, `failed`), seconds to keep it, now, kind of reply (`key`, `list` or nothing), whether it is still to
-- be delivered, reason, attempts, deaths, most dead letters, id, priority, seconds to keep counts.
-- Returns `stored`, `known`, or what is wrong with the reply.
write_in_any_case(KEYS[1], ARGV[1])
local answer = 'known'
if redis.call('HEXISTS', KEYS[2], 'report') == 0 then
  local replied = true
  if ARGV[7] == 'key' then
    replied = redis.pcall('SET', KEYS[6], ARGV[3])
  elseif ARGV[7] == 'list' then
    replied = redis.pcall('RPUSH', KEYS[6], ARGV[3])
  end
  -- Nothing else has happened yet. What is wrong with the key stays wrong; anything else passes; a full memory is no error here.
  if type(replied) == 'table' and replied.err then
    local lasting = string.sub(replied.err, 1, 9) == 'WRONGTYPE' or string.sub(replied.err, 1, 6) == 'NOPERM'
    if lasting then
      return replied.err
    end
    return replied
  end
  answer = 'stored'
  redis.call('HSET', KEYS[2], 'report', ARGV[3], 'state', ARGV[4], 'at', ARGV[6], 'attempts', ARGV[10])
  redis.call('HINCRBY', KEYS[2], 'stored', 1)
  local counted = 'stored'
  if ARGV[4] == 'failed' then
    counted = 'failed'
    redis.call('HSET', KEYS[2], 'reason', ARGV[9])
    local job = job_of(KEYS[1], ARGV[2])
    if job then
      redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[12], '*', 'id', ARGV[13], 'priority', ARGV[14], 'reason', ARGV[9],
        'attempts', ARGV[10], 'deaths', ARGV[11], 'at', ARGV[6], 'job', job)
    end
  else
    redis.call('HDEL', KEYS[2], 'reason')
  end
  if ARGV[8] == '1' then
    redis.call('HSET', KEYS[2], 'state', 'delivering')
    -- From here on they are failures to deliver.
    redis.call('HDEL', KEYS[2], 'failures')
  end
  count({KEYS[3], KEYS[4]}, counted, ARGV[6], ARGV[15])
end
if redis.call('HGET', KEYS[2], 'state') ~= 'delivering' then
  redis.call('EXPIRE', KEYS[2], ARGV[5])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  redis.call('XDEL', KEYS[1], ARGV[2])
end
return answer
