-- What one would write who has Lua and no other filter: the split and the stamp, and nothing else.
function envoy_on_request(handle)
  if math.random(1000000) <= 50000 then
    handle:headers():replace("x-canary-route", "demo-canary")
    handle:streamInfo():dynamicMetadata():set("canary", "version", "1.1.0")
  end
end

function envoy_on_response(handle)
  local canary = handle:streamInfo():dynamicMetadata():get("canary")
  handle:headers():replace("x-canary-version", canary and canary.version or "1.0.0")
end
