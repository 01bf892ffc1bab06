-- Shared body of begin, grow, commit, finish and heal. Not a script of its own: the client puts it between prelude and script.
--
-- KEYS  1 execution  2 node  3 item  4 entries (LIST, one element an entry: hash, space, bytes)  5 bodies (HASH, digest -> bytes)
-- ARGV  1 attempt  2 claimId  3 seq  4 digest  5 ledger  6 leaseTtlMs  7 steps ('' = unchanged)  8 channel  9 number of entries
--       then 4 for each entry: index, prevHash, hash, bytes; then the number of bodies and 2 for each: digest, bytes;
--       then what the op itself needs.
-- Reply OK, or RECLAIM · FENCED · GAP · INVALID · FINISHED · STOPPED · WAIT · BUDGET · LIMIT, which change nothing.
--
-- J1 entries follow the head   J2 fence   J6 the last command's reply is kept and given again   B1 admit, compareLedgers   B2 differences

-- J6: one command is in flight per claim. nil = new.
local function firstReply(item, op, seq, digest)
  if seq == item.seq + 1 or (op == 'heal' and seq > item.seq) then return nil end
  if seq > item.seq then return say('GAP', text(item.seq), item.len, item.head) end
  if seq == item.seq and digest == item.dig and item.reply ~= '' then return item.reply end
  return say('INVALID', 'sequence ' .. text(seq) .. ' was used for another command')
end

-- J1. The hash of the last entry, or nil when they do not follow.
local function follow(item, count)
  local index, head = tonumber(item.len), item.head
  for i = 1, count do
    local at = 6 + 4 * i
    if tonumber(ARGV[at]) ~= index or (index > 0 and ARGV[at + 1] ~= head) then return nil end
    index = index + 1
    head = ARGV[at + 2]
  end
  return head
end

-- What is wrong with the new ledger, or nil; and by unit what it moves: { used, beyond, held }, false where nothing moves.
local function compareLedgers(before, after, op)
  if #after ~= 18 then return 'a ledger holds whole numbers from 0' end
  local moves, back, freed, over = {}, false, false, false
  for i = 1, 18 do
    if #after[i] > 15 and tonumber(after[i]) > wholeMax then return 'a ledger holds whole numbers from 0' end
  end
  for u = 1, 6 do
    moves[u] = false
    if before[u] ~= after[u] or before[6 + u] ~= after[6 + u] or before[12 + u] ~= after[12 + u] then
      local used, beyond, held = after[u] - before[u], after[6 + u] - before[6 + u], after[12 + u] - before[12 + u]
      moves[u] = { used, beyond, held }
      back = back or used < 0 or beyond < 0
      freed = freed or held < 0
      over = over or used > -held
    end
  end
  if back then return 'use was taken back' end
  if freed and (op == 'begin' or op == 'grow') then return 'only a settlement frees what is held' end
  if over and (op == 'commit' or op == 'finish') then return 'settled more than it held' end
  return nil, moves
end

-- B1. nil = admitted.
local function admit(accounts, moves, op)
  local waiting = nil
  for a = 1, 2 do
    local limits, acct = accounts[a].limit, accounts[a].amounts
    for u = 1, 6 do
      local limit, move = limits[u], moves[u]
      local need = limit and move and move[1] + move[3] or 0
      if need > 0 then
        local used, reserved = spent(acct, u), tonumber(acct[18 + u])
        if used + reserved + need > limit then
          local final = op ~= 'begin' or u == 6 or used + need > limit
          local refusal = say(accounts[a].scope, units[u], text(limit), text(used), text(reserved), text(need))
          if final then return say(u == 6 and 'LIMIT' or 'BUDGET', refusal) end
          waiting = waiting or say('WAIT', refusal)
        end
      end
    end
  end
  return waiting
end

-- Output tokens that could still be bought; -1 without a token budget.
local function outputLeft(accounts)
  local left = -1
  for a = 1, 2 do
    for u = 1, 3, 2 do
      local limit, acct = accounts[a].limit[u], accounts[a].amounts
      if limit then
        local rest = math.max(0, limit - spent(acct, u) - acct[18 + u])
        left = left == -1 and rest or math.min(left, rest)
      end
    end
  end
  return text(left)
end

-- Adds the ledger's difference to both accounts; at finish, what is still held becomes lost. Returns the audit limits passed.
local function settleAccounts(accounts, moves, after, op)
  local found = {}
  for a = 1, 2 do
    local account = accounts[a]
    local audits = limitsOf(account.audit)
    for u = 1, 6 do
      local move = moves[u]
      local left = op == 'finish' and tonumber(after[12 + u]) or 0
      if move or left > 0 then
        move = move or { 0, 0, 0 }
        change(account, account.amounts, audits, u, move[1], u < 6 and left or 0, move[2], move[3] - left, found)
      end
    end
    writeAccount(account, account.amounts)
  end
  return table.concat(found, ',')
end

-- `read(at)` gives the op's own arguments, the first of them at ARGV[at]: phase | violation, finished | length, head.
local function sequenced(op, read)
  local execution = readExecution(KEYS[1])
  if not execution then return 'NOT_OPEN' end
  local item = readItem(KEYS[3])
  local refused = fence(item, tonumber(ARGV[1]), ARGV[2])
  if refused then return refused end
  local node = readNode(KEYS[2])
  if not node then return say('RECLAIM', text(item.attempt)) end
  local seq, digest = tonumber(ARGV[3]), ARGV[4]
  local first = firstReply(item, op, seq, digest)
  if first then return first end
  if item.fin ~= '' then return say('FINISHED', string.sub(item.fin, 2)) end
  local count = tonumber(ARGV[9])
  local bodies = 10 + 4 * count
  local own = read(bodies + 1 + 2 * tonumber(ARGV[bodies]))
  if op == 'begin' and execution.state ~= (own.phase == 'Finally' and 'Finalizing' or 'Running') then
    return say('STOPPED', execution.state, execution.rev, execution.msg)
  end
  local head = follow(item, count)
  if not head or (op == 'heal' and (own.length ~= item.len or own.head ~= item.head)) then
    return say('GAP', text(item.seq), item.len, item.head)
  end
  local after = texts(ARGV[5], ledgerPattern)
  local problem, moves = compareLedgers(texts(item.ledger, ledgerPattern), after, op)
  if problem then return say('INVALID', problem) end
  local accounts = { execution, node }
  for a = 1, 2 do
    accounts[a].limit = limitsOf(accounts[a].limits)
    accounts[a].amounts = texts(accounts[a].acct, accountPattern)
  end
  if op == 'begin' or op == 'grow' or op == 'heal' then
    local admission = admit(accounts, moves, op)
    if admission then return admission end
  end

  local crossed = settleAccounts(accounts, moves, after, op)
  local moved = own.violation and move(execution, 'Violated', own.violation)
  if moved then writeControl(execution) end
  local length = text(tonumber(item.len) + count)
  local left = (op == 'begin' or op == 'grow') and outputLeft(accounts) or '-1'
  local reply = ok(length, head, execution, crossed, left)
  local ledger = op == 'finish' and string.gsub(ARGV[5], '^(' .. six .. ',' .. six .. '),.*$', '%1,0,0,0,0,0,0') or ARGV[5]
  redis.call('HSET', KEYS[3], 'len', length, 'head', head, 'seq', ARGV[3], 'dig', digest, 'reply', reply, 'ledger', ledger,
    'steps', ARGV[7] == '' and item.steps or ARGV[7], 'lease', text(now() + tonumber(ARGV[6])), 'fin', own.finished and '=' .. own.finished or '')
  for i = 1, count do
    local at = 6 + 4 * i
    redis.call('RPUSH', KEYS[4], ARGV[at + 2] .. ' ' .. ARGV[at + 3])
  end
  for i = bodies + 1, bodies + 2 * tonumber(ARGV[bodies]), 2 do
    redis.call('HSETNX', KEYS[5], ARGV[i], ARGV[i + 1])
  end
  if moved then
    wake(ARGV[8], 'control')
  elseif op == 'finish' then
    wake(ARGV[8], 'progress')
  elseif op == 'commit' then
    wake(ARGV[8], 'settled')
  end
  return reply
end
