-- Records of one moment. Reads only; a full store must still be readable (MULTI would be refused there).
-- KEYS  1 execution, then items
-- Reply for each key its fields and values, empty when there is no such record
local out = {}
for i, key in ipairs(KEYS) do
  out[i] = redis.call('HGETALL', key)
end
return out
