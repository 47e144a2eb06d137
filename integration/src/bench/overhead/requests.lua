-- wrk's requests: those of ten thousand clients, in turn. Made before the start: a string a request.
local requests = {}
local next = 0

function init(arguments)
  local path = arguments[1]
  for client = 1, 10000 do
    requests[client] = wrk.format("GET", path, {["x-user-id"] = "user-" .. client})
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end
