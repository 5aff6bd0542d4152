-- Consumers that have nothing and have said nothing for long leave the group.
-- KEYS: stream. ARGV: group, the one that stays, milliseconds.
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for at = 1, #info, 2 do
    of[info[at]] = info[at + 1]
  end
  if of.pending == 0 and of.idle > tonumber(ARGV[3]) and of.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
  end
end
return 1
