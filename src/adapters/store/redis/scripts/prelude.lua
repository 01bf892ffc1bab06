-- What every script starts with. Not a script of its own: the client puts it in front of each one.
--
-- A script holds the rules of core/protocol/decide.ts, in the same order of checks. It compares opaque bytes and whole
-- numbers; it never parses, re-encodes or hashes an entry or a body.
--
-- Records (HASHes)
--   execution  snapshot, state, rev, msg, limits, audit, acct; kept (seconds since the epoch, see keep.lua)
--   node       limits, audit, acct
--   item       attempt, claim, try, len, head, seq, dig, reply, ledger, steps, lease, fin ('' or '=' .. text), live
-- Vectors are decimal numbers joined by commas, six to a part, in the order of `units`; '-' is "no limit".
--   acct    settled, lost, overshoot, reserved (24)      ledger  settled, overshoot, reserved (18)
-- Numbers are whole and below 2^53; '%.0f' keeps them exact where tostring would not. Most of a vector stays as it is, so
-- vectors are taken apart as texts, and only what changes is made a number.
--
-- Reply: one string, fields separated by line feeds, the code first, free text last (see wire.ts).

local units = { 'TotalTokens', 'InputTokens', 'OutputTokens', 'ModelCalls', 'ToolCalls', 'Steps' }
local wholeMax = 9007199254740991
local zeroLedger = '0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0'
local zeroAccount = zeroLedger .. ',0,0,0,0,0,0'

local transitions = {
  Running = { Suspended = true, Cancelled = true, Violated = true, Finalizing = true },
  Suspended = { Running = true, Cancelled = true, Violated = true, Finalizing = true },
  Cancelled = { Finalizing = true },
  Violated = { Finalizing = true },
  Finalizing = {},
}

local function text(number)
  return string.format('%.0f', number)
end

local function say(...)
  return table.concat({ ... }, '\n')
end

local six = '(%d+),(%d+),(%d+),(%d+),(%d+),(%d+)'
local ledgerPattern = '^' .. six .. ',' .. six .. ',' .. six .. '$'
local accountPattern = six .. ',' .. six .. ',' .. six .. ',' .. six
local limitsPattern = '([^,]+),([^,]+),([^,]+),([^,]+),([^,]+),([^,]+)'
local noLimits = '-,-,-,-,-,-'

-- Texts of a vector; none when it does not match.
local function texts(vector, pattern)
  return { string.match(vector, pattern) }
end

-- Numbers of a limits vector; false = no limit.
local function limitsOf(vector)
  local out = { false, false, false, false, false, false }
  if vector == noLimits then return out end
  for u, limit in ipairs(texts(vector, limitsPattern)) do
    out[u] = tonumber(limit) or false
  end
  return out
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function wake(channel, what)
  redis.call('PUBLISH', channel, what)
end

-- nil = never opened
local function readExecution(key)
  local f = redis.call('HMGET', key, 'state', 'rev', 'msg', 'limits', 'audit', 'acct', 'snapshot')
  if not f[1] then return nil end
  return { key = key, scope = 'Execution', state = f[1], rev = f[2], msg = f[3], limits = f[4], audit = f[5], acct = f[6], snapshot = f[7] }
end

-- nil = before the node's first claim
local function readNode(key)
  local f = redis.call('HMGET', key, 'limits', 'audit', 'acct')
  if not f[1] then return nil end
  return { key = key, scope = 'Node', limits = f[1], audit = f[2], acct = f[3] }
end

-- nil = never claimed or released
local function readItem(key)
  local f = redis.call('HMGET', key, 'attempt', 'claim', 'try', 'len', 'head', 'seq', 'dig', 'reply', 'ledger', 'steps', 'fin')
  if not f[1] then return nil end
  return {
    attempt = tonumber(f[1]), claim = f[2], try = tonumber(f[3]), len = f[4], head = f[5], seq = tonumber(f[6]),
    dig = f[7], reply = f[8], ledger = f[9], steps = f[10], fin = f[11],
  }
end

local function ok(length, head, execution, crossed, left)
  return say('OK', length, head, execution.state, execution.rev, crossed, left, execution.msg)
end

-- J2. nil = this attempt and claim hold the item.
local function fence(item, attempt, claim)
  if not item or item.attempt < attempt then return say('RECLAIM', item and text(item.attempt) or '0') end
  if item.attempt > attempt or item.claim == '' or item.claim ~= claim then return say('FENCED', text(item.attempt)) end
  return nil
end

-- Changes execution.state, rev and msg; true when they moved, false when already there, nil when not listed.
local function move(execution, to, message)
  if execution.state == to then return false end
  if not transitions[execution.state][to] then return nil end
  execution.state = to
  execution.rev = text(tonumber(execution.rev) + 1)
  execution.msg = message
  return true
end

local function writeControl(execution)
  redis.call('HSET', execution.key, 'state', execution.state, 'rev', execution.rev, 'msg', execution.msg)
end

-- settled + lost + overshoot
local function spent(acct, u)
  return acct[u] + acct[6 + u] + acct[12 + u]
end

-- Moves one unit of an account (texts in `acct`). Adds to `found` the audit limit that this passes, as 'Scope/Unit'.
local function change(account, acct, audits, u, settled, lost, overshoot, reserved, found)
  local before = audits[u] and spent(acct, u)
  acct[u] = text(acct[u] + settled)
  acct[6 + u] = text(acct[6 + u] + lost)
  acct[12 + u] = text(acct[12 + u] + overshoot)
  acct[18 + u] = text(acct[18 + u] + reserved)
  if before and before <= audits[u] and spent(acct, u) > audits[u] then found[#found + 1] = account.scope .. '/' .. units[u] end
end

local function writeAccount(account, acct)
  local changed = table.concat(acct, ',')
  if changed ~= account.acct then redis.call('HSET', account.key, 'acct', changed) end
end

-- What a dead attempt held is lost, but for Steps, which its successor makes again. Writes both accounts; returns what was crossed.
local function lose(execution, node, ledger)
  local held = texts(ledger, ledgerPattern)
  local found = {}
  for _, account in ipairs({ execution, node }) do
    local acct, audits = texts(account.acct, accountPattern), limitsOf(account.audit)
    for u = 1, 6 do
      local amount = tonumber(held[12 + u])
      if amount > 0 then change(account, acct, audits, u, 0, u < 6 and amount or 0, 0, -amount, found) end
    end
    writeAccount(account, acct)
  end
  return table.concat(found, ',')
end
