-- What every script starts with. Not a script of its own: the client puts it in front of each one.
--
-- A script holds the rules of core/protocol/decide.ts, in the same order of checks. It compares opaque bytes and whole
-- numbers; it never parses, re-encodes or hashes an entry or a body.
--
-- Records (HASHes)
--   execution  snapshot, state, rev, msg, limits, audit, acct
--   node       limits, audit, acct
--   item       attempt, claim, try, len, head, seq, dig, reply, ledger, steps, lease, fin ('' or '=' .. text), live
-- Vectors are decimal numbers joined by commas, six to a part, in the order of `units`; '-' is "no limit".
--   acct    settled, lost, overshoot, reserved (24)      ledger  settled, overshoot, reserved (18)
-- Numbers are whole and below 2^53; '%.0f' keeps them exact where tostring would not.
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

local function numbers(vector)
  local out, n = {}, 0
  for part in string.gmatch(vector, '[^,]+') do
    n = n + 1
    out[n] = tonumber(part) or false
  end
  return out
end

local function vector(list)
  local out = {}
  for i = 1, #list do
    out[i] = string.format('%.0f', list[i])
  end
  return table.concat(out, ',')
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

local function spent(acct, u)
  return acct[u] + acct[6 + u] + acct[12 + u]
end

-- Audit limits that the change from `before` to `after` has passed, as 'Scope/Unit,…'.
local function crossedIn(account, before, after, found)
  local limits = numbers(account.audit)
  for u = 1, 6 do
    if limits[u] and spent(before, u) <= limits[u] and spent(after, u) > limits[u] then
      found[#found + 1] = account.scope .. '/' .. units[u]
    end
  end
end

-- What a dead attempt held is lost, but for Steps, which its successor makes again. Writes both accounts; returns what was crossed.
local function lose(execution, node, ledger)
  local held = numbers(ledger)
  local found = {}
  for _, account in ipairs({ execution, node }) do
    local before, after = numbers(account.acct), numbers(account.acct)
    for u = 1, 6 do
      after[18 + u] = after[18 + u] - held[12 + u]
      if u < 6 then after[6 + u] = after[6 + u] + held[12 + u] end
    end
    crossedIn(account, before, after, found)
    local changed = vector(after)
    if changed ~= account.acct then redis.call('HSET', account.key, 'acct', changed) end
  end
  return table.concat(found, ',')
end
