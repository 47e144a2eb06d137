-- wrk's requests: those of ten thousand clients, in turn. Made before the start: a string a request.
local requests = {}
local next = 0

-- Twelve headers and 300 bytes of JSON, as a client of a model server sends them.
local function post(path, client)
  local body = string.format('{"model":"scorer","user":"user-%d","temperature":0.2,"messages":[{"role":"user","content":"', client)
  body = body .. string.rep("x", 300 - #body - 4) .. '"}]}'
  return wrk.format("POST", path, {
    ["Host"] = "scorer.example.com",
    ["User-Agent"] = "model-client/1.4 (linux)",
    ["Accept"] = "application/json",
    ["Accept-Encoding"] = "gzip, deflate",
    ["Accept-Language"] = "en",
    ["Authorization"] = "Bearer 0123456789abcdef0123456789abcdef",
    ["Cache-Control"] = "no-cache",
    ["Content-Type"] = "application/json",
    ["Cookie"] = string.format("session=0123456789abcdef; canary-cohort=%032d", client),
    ["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ["x-user-id"] = "user-" .. client,
  }, body)
end

function init(arguments)
  local path, kind = arguments[1], arguments[2]
  for client = 1, 10000 do
    if kind == "post" then
      requests[client] = post(path, client)
    else
      requests[client] = wrk.format("GET", path, {["x-user-id"] = "user-" .. client})
    end
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end
