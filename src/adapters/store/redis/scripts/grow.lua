-- B1: buy a further block before its text is handed on. Never waits: text is already flowing, so it is refused at once.
-- KEYS, ARGV, replies: sequenced.lua, without entries and bodies. No own argument.
return sequenced('grow', function()
  return {}
end)
