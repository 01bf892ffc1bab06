-- Let keys live for some time at least, whatever an `expire` says before or after. Repeat: never shortens.
-- KEYS  all keys of the run, its own record first
-- ARGV  1 seconds from now
-- Reply 'OK'
if redis.call('EXISTS', KEYS[1]) == 0 then return 'OK' end
local seconds = tonumber(ARGV[1])
local till = tonumber(redis.call('TIME')[1]) + seconds
if till > tonumber(redis.call('HGET', KEYS[1], 'kept') or '0') then
  redis.call('HSET', KEYS[1], 'kept', string.format('%.0f', till))
end
for _, key in ipairs(KEYS) do
  local left = redis.call('TTL', key)
  if left >= 0 and left < seconds then redis.call('EXPIRE', key, ARGV[1]) end
end
return 'OK'
