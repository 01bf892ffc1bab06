-- J2: take the item for a higher attempt. What the attempt before it held becomes lost.
-- Repeat: OK for the same claim, CLAIMED for another one of the same attempt (a copied pod).
-- KEYS  1 execution  2 node  3 item
-- ARGV  1 attempt  2 claimId  3 try  4 limits  5 audit limits  6 known length ('' = none)  7 known head  8 leaseTtlMs  9 channel
-- Reply OK · FENCED · CLAIMED · ROLLED_BACK (the status has seen more) · FINISHED · INVALID · NOT_OPEN
local execution = readExecution(KEYS[1])
if not execution then return 'NOT_OPEN' end
if ARGV[2] == '' then return say('INVALID', 'a claim needs an id') end
local item = readItem(KEYS[3])
local attempt, try = tonumber(ARGV[1]), tonumber(ARGV[3])
if item and item.attempt > attempt then return say('FENCED', text(item.attempt)) end
if item and item.attempt == attempt then
  if item.claim == ARGV[2] then return ok(item.len, item.head, execution, '', '-1') end
  return say('CLAIMED', text(item.attempt))
end
local length, head = item and item.len or '0', item and item.head or ''
if ARGV[6] ~= '' then
  local known = tonumber(ARGV[6])
  if tonumber(length) < known or (tonumber(length) == known and head ~= ARGV[7]) then return say('ROLLED_BACK', length, head) end
end
if item and item.fin ~= '' and item.try >= try then return say('FINISHED', string.sub(item.fin, 2)) end
local node = readNode(KEYS[2])
local crossed = ''
if not node then
  redis.call('HSET', KEYS[2], 'limits', ARGV[4], 'audit', ARGV[5], 'acct', zeroAccount)
elseif item then
  crossed = lose(execution, node, item.ledger)
end
redis.call('HSET', KEYS[3], 'attempt', ARGV[1], 'claim', ARGV[2], 'try', ARGV[3], 'len', length, 'head', head, 'seq', '0', 'dig', '', 'reply', '',
  'ledger', zeroLedger, 'steps', item and item.try == try and item.steps or '0', 'lease', text(now() + tonumber(ARGV[8])), 'fin', '', 'live', '')
wake(ARGV[9], 'progress')
return ok(length, head, execution, crossed, '-1')
