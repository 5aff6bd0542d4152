-- The text of the job in an entry of a stream, or nothing if there is no such entry. Of several fields the last counts, as for workers.
local function job_of(stream, entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  if not found[1] then
    return nil
  end
  local fields = found[1][2]
  local job = ''
  for at = 1, #fields, 2 do
    if fields[at] == 'job' then
      job = fields[at + 1]
    end
  end
  return job
end

-- Has this script write although Redis has no memory left, or what fills it could never be worked off: jobs that are done make room. Redis
-- looks at its memory before the first write alone, and this one adds nothing.
local function write_in_any_case(stream, group)
  redis.call('XACK', stream, group, '0-0')
end

-- Adds to the counts of all jobs and of a batch, which live for so many seconds after their last change.
local function count(keys, name, now, life)
  for _, counts in ipairs(keys) do
    redis.call('HINCRBY', counts, name, 1)
    redis.call('HSET', counts, 'at', now)
    redis.call('EXPIRE', counts, life)
  end
end

