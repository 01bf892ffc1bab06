-- Health of an Execution for Argo CD: a finished run is healthy, a failed or cancelled one degraded, so that it also works as
-- a hook (a sync waits for Healthy and fails on Degraded). What waits for a person is suspended.
local health = { status = "Progressing", message = "Waiting for the operator" }
local status = obj.status
if status == nil then return health end
if status.observedGeneration == nil or obj.metadata.generation == nil
    or status.observedGeneration < obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local succeeded = conditions.Succeeded or {}
local stalled = conditions.Stalled or {}

local function told(condition, otherwise)
  if condition.message ~= nil and condition.message ~= "" then return condition.message end
  return condition.reason or otherwise
end

local states = {
  Succeeded = "Healthy",
  Failed = "Degraded",
  Cancelled = "Degraded",
  Suspended = "Suspended",
  AwaitingApproval = "Suspended",
}
local phase = status.phase or "Pending"
-- What runs after the nodes (finally) still belongs to the run.
local reconciling = (conditions.Reconciling or {}).status == "True"
if (phase == "Succeeded" or phase == "Failed" or phase == "Cancelled") and reconciling then
  health.message = told(conditions.Reconciling, phase)
elseif states[phase] ~= nil then
  health.status = states[phase]
  health.message = told(succeeded, phase)
elseif stalled.status == "True" then
  health.status = "Degraded"
  health.message = told(stalled, phase)
else
  health.message = phase
  if status.progress ~= nil and status.progress ~= "" then
    health.message = phase .. ", " .. status.progress .. " nodes"
  end
end
return health
