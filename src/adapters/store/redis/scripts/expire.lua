-- Let keys vanish together. Admitted in a full store: it makes room. Repeat: sets the time anew.
-- KEYS  all keys of the run that are to go
-- ARGV  1 seconds from now, 0 = now
-- Reply 'OK'
local seconds = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  if seconds > 0 then
    redis.call('EXPIRE', key, ARGV[1])
  else
    redis.call('UNLINK', key)
  end
end
return 'OK'
