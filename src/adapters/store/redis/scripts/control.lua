-- Move the control state. Repeat: OK when it is there already. Admitted in a full store: a run must be stoppable.
-- KEYS  1 execution
-- ARGV  1 state  2 exact reason  3 channel
-- Reply OK · REFUSED (unlisted transition) · NOT_OPEN
local execution = readExecution(KEYS[1])
if not execution then return 'NOT_OPEN' end
local moved = move(execution, ARGV[1], ARGV[2])
if moved == nil then return say('REFUSED', execution.state) end
if moved then
  writeControl(execution)
  wake(ARGV[3], 'control')
end
return ok('0', '', execution, '', '-1')
