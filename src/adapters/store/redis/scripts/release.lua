-- Host only: this attempt is known to be dead. Charge what it held as lost and fence it (J2). Repeat: OK.
-- KEYS  1 execution  2 node  3 item
-- ARGV  1 attempt  2 channel
-- Reply OK · FENCED (a higher attempt holds the item) · NOT_OPEN
local execution = readExecution(KEYS[1])
if not execution then return 'NOT_OPEN' end
local item = readItem(KEYS[3])
local attempt = tonumber(ARGV[1])
if item and item.attempt > attempt then return say('FENCED', text(item.attempt)) end
if item and item.attempt == attempt and item.claim == '' then return ok(item.len, item.head, execution, '', '-1') end
local node = readNode(KEYS[2])
local crossed = ''
if node and item then crossed = lose(execution, node, item.ledger) end
if not item then item = { try = 0, len = '0', head = '', steps = '0', fin = '' } end
redis.call('HSET', KEYS[3], 'attempt', ARGV[1], 'claim', '', 'try', text(item.try), 'len', item.len, 'head', item.head, 'seq', '0', 'dig', '', 'reply', '',
  'ledger', zeroLedger, 'steps', item.steps, 'lease', '0', 'fin', item.fin, 'live', '')
wake(ARGV[2], 'settled')
return ok(item.len, item.head, execution, crossed, '-1')
