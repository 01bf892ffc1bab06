-- J3: make the intent durable before the call, and reserve for it. WAIT consumes no sequence: ask again after a settle.
-- KEYS, ARGV, replies: sequenced.lua. Own argument: 1 phase, 'Main' (admitted under Running) or 'Finally' (under Finalizing).
return sequenced('begin', function(at)
  return { phase = ARGV[at] }
end)
