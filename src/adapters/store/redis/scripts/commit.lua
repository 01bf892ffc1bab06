-- Append results and settle: what was held comes back, what was used is counted (never more than was held). Wakes those that WAIT.
-- KEYS, ARGV, replies: sequenced.lua. Own arguments: 1 '1' when an enforced policy was broken, else ''  2 its exact reason;
-- the first such reason moves the control state to Violated.
return sequenced('commit', function(at)
  return { violation = ARGV[at] == '1' and ARGV[at + 1] }
end)
