-- Renew the lease, leave live figures, learn the control state. Admitted in a full store: it only overwrites.
-- KEYS  1 execution  2 item
-- ARGV  1 attempt  2 claimId  3 live  4 leaseTtlMs
-- Reply OK · FENCED · RECLAIM (the store was rolled back) · NOT_OPEN
local execution = readExecution(KEYS[1])
if not execution then return 'NOT_OPEN' end
local item = readItem(KEYS[2])
local refused = fence(item, tonumber(ARGV[1]), ARGV[2])
if refused then return refused end
redis.call('HSET', KEYS[2], 'lease', text(now() + tonumber(ARGV[4])), 'live', ARGV[3])
return ok(item.len, item.head, execution, '', '-1')
