-- Jobs that wait for their time are deleted, but those of which only the report is still to be delivered.
-- KEYS: delayed, their jobs. ARGV: what keys of jobs begin with. Returns how many.
local gone = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[1] .. id
  if redis.call('HGET', key, 'state') ~= 'delivering' then
    redis.call('DEL', key)
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[1], id)
    gone = gone + 1
  end
end
return gone
