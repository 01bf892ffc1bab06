-- Last command of an attempt: append the finish entry and close the item. What is still held becomes lost.
-- KEYS, ARGV, replies: sequenced.lua. Own arguments: 1 and 2 as in commit.lua  3 the text that hosts read (outcome, digest of output).
return sequenced('finish', function(at)
  return { violation = ARGV[at] == '1' and ARGV[at + 1], finished = ARGV[at + 2] }
end)
