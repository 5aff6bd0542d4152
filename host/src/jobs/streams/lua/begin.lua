-- An attempt begins, or whoever died left less to be done.
-- KEYS: stream, job. ARGV: group, entry, now, function, how often the entry was delivered.
-- Returns what is to be done (`finished`, `deliver`, `run`), failures, deaths, and the report to deliver.
local known = redis.call('HMGET', KEYS[2], 'report', 'state', 'begun')
if known[1] and known[2] ~= 'delivering' then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  redis.call('XDEL', KEYS[1], ARGV[2])
  return {'finished', '0', '0', ''}
end
write_in_any_case(KEYS[1], ARGV[1])
-- Whoever had the entry before and began with it died of it, perhaps; who only had it did not. Asked for again, nobody dies again.
local entry, delivery = string.match(known[3] or '', '^(%S+) (%d+)$')
if entry == ARGV[2] and tonumber(delivery) < tonumber(ARGV[5]) then
  redis.call('HINCRBY', KEYS[2], 'deaths', 1)
end
redis.call('HSET', KEYS[2], 'begun', ARGV[2] .. ' ' .. ARGV[5])
local todo = 'deliver'
if not known[1] then
  todo = 'run'
  redis.call('HSET', KEYS[2], 'state', 'running', 'function', ARGV[4], 'at', ARGV[3])
end
local counts = redis.call('HMGET', KEYS[2], 'failures', 'deaths')
return {todo, counts[1] or '0', counts[2] or '0', known[1] or ''}
