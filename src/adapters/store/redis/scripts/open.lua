-- Open a run with the digest of its snapshot and its limits. Repeat: a no-op with the same snapshot, INVALID with another.
-- KEYS  1 execution
-- ARGV  1 snapshot  2 limits  3 audit limits  4 channel
-- Reply OK · INVALID
local execution = readExecution(KEYS[1])
if execution then
  if execution.snapshot ~= ARGV[1] then return say('INVALID', 'opened with another snapshot') end
  return ok('0', '', execution, '', '-1')
end
redis.call('HSET', KEYS[1], 'snapshot', ARGV[1], 'state', 'Running', 'rev', '1', 'msg', '', 'limits', ARGV[2], 'audit', ARGV[3], 'acct', zeroAccount)
wake(ARGV[4], 'control')
return ok('0', '', { state = 'Running', rev = '1', msg = '' }, '', '-1')
