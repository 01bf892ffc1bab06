-- Let keys vanish together, but no sooner than `keep` said. Admitted in a full store: it makes room. Repeat: sets the time anew.
-- KEYS  all keys of the run that are to go, its own record first
-- ARGV  1 seconds from now, 0 = now
-- Reply 'OK'
local kept = tonumber(redis.call('HGET', KEYS[1], 'kept') or '0') - tonumber(redis.call('TIME')[1])
local seconds = math.max(tonumber(ARGV[1]), kept)
for _, key in ipairs(KEYS) do
  if seconds > 0 then
    redis.call('EXPIRE', key, string.format('%.0f', seconds))
  else
    redis.call('UNLINK', key)
  end
end
return 'OK'
