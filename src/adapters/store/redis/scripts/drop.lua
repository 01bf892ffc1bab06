-- DigestOnly: drop every body of a run but those named. Repeat: no-op. Admitted in a full store: it makes room.
-- KEYS  1 bodies
-- ARGV  digests to keep
-- Reply 'OK'
local kept = {}
for i, digest in ipairs(ARGV) do
  kept[i] = redis.call('HGET', KEYS[1], digest)
end
redis.call('UNLINK', KEYS[1])
for i, digest in ipairs(ARGV) do
  if kept[i] then redis.call('HSET', KEYS[1], digest, kept[i]) end
end
return 'OK'
