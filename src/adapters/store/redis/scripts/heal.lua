-- After a rollback of the store: append the worker's kept tail again and restore its figures. Its sequence may leave a gap.
-- KEYS, ARGV, replies: sequenced.lua. Own arguments: 1 length  2 head of the journal where the tail begins; anything else there is a GAP.
-- BUDGET or LIMIT: what the store admitted while it had forgotten has taken this worker's room (B1), so the loss is final.
return sequenced('heal', function(at)
  return { length = ARGV[at], head = ARGV[at + 1] }
end)
