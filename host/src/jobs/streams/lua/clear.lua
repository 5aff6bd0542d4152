-- Some entries that no worker was given are deleted, and what is known of their jobs.
-- KEYS: stream. ARGV: group, what keys of jobs begin with, most entries. Returns how many.
local from = '-'
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for at = 1, #info, 2 do
    of[info[at]] = info[at + 1]
  end
  if of.name == ARGV[1] then
    from = '(' .. of['last-delivered-id']
  end
end
local gone = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[3])) do
  local read, job = pcall(cjson.decode, job_of(KEYS[1], entry[1]))
  if read and type(job) == 'table' and type(job.id) == 'string' then
    local key = ARGV[2] .. job.id
    if redis.call('HGET', key, 'state') == 'queued' then
      redis.call('DEL', key)
    end
  end
  redis.call('XDEL', KEYS[1], entry[1])
  gone = gone + 1
end
return gone
