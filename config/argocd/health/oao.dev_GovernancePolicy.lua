-- Health of a GovernancePolicy for Argo CD: degraded when the operator finds it invalid, as runs then fail closed.
-- Progressing until the operator has said anything about this version of it.
local status = obj.status
if status ~= nil and status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and status.observedGeneration >= obj.metadata.generation then
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == "Ready" then
      local message = condition.message or condition.reason or ""
      if condition.status == "True" then return { status = "Healthy", message = message } end
      if condition.status == "False" then return { status = "Degraded", message = message } end
    end
  end
end
return { status = "Progressing", message = "Waiting for the operator" }
