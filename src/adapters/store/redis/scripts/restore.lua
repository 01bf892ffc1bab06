-- Put entries of a run that has ended elsewhere into an item's journal as they are; core/protocol/restore.ts has the rules.
-- KEYS  1 execution  2 item  3 entries
-- ARGV  1 attempt  2 try  3 steps  4 finished ('' or '=' .. text)  5 genesis hash  then for each entry: index, prevHash, hash, bytes
-- Reply 'OK' · why not. Repeat: what is there is compared and skipped.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'the run was opened here, so its journal is the protocol\'s alone' end
local length, head = 0, ARGV[5]
local item = redis.call('HMGET', KEYS[2], 'len', 'head')
if item[1] and item[1] ~= '0' then
  length, head = tonumber(item[1]), item[2]
end
-- Checked as a whole before the first is written.
local added = {}
for at = 6, #ARGV, 4 do
  local index, element = tonumber(ARGV[at]), ARGV[at + 2] .. ' ' .. ARGV[at + 3]
  if index < length - #added then
    if redis.call('LINDEX', KEYS[3], index) ~= element then return 'another entry ' .. ARGV[at] .. ' is there' end
  elseif index ~= length or ARGV[at + 1] ~= head then
    return 'entry ' .. ARGV[at] .. ' does not follow the ' .. string.format('%.0f', length) .. ' that are there'
  else
    added[#added + 1] = element
    length = length + 1
    head = ARGV[at + 2]
  end
end
for _, element in ipairs(added) do
  redis.call('RPUSH', KEYS[3], element)
end
redis.call('HSET', KEYS[2], 'attempt', ARGV[1], 'claim', '', 'try', ARGV[2], 'len', string.format('%.0f', length), 'head', head, 'seq', '0',
  'dig', '', 'reply', '', 'ledger', '0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0', 'steps', ARGV[3], 'lease', '0', 'fin', ARGV[4], 'live', '')
return 'OK'
