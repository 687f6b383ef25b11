-- The load: GET of the URL's path, or with the argument "presign" POST of upload requests by many
-- owners, or with "owners N" the same with a new owner each time, after the first N, or with "among M N" by M
-- owners in turns, from the Nth on, or with "requests FILE" what its lines say, in turns: GET and a path, or
-- POST, a path and an owner. Prints one line of JSON for the benchmark.

local OWNERS = 10000
local posts = nil
local turn = 0

local BODY = '{"file":"Holiday photo.jpg","contentType":"image/jpeg","size":51200}'

local function post(path, owner)
   local headers = { ["Content-Type"] = "application/json", ["X_Owner_Id"] = owner }
   return wrk.format("POST", path, headers, BODY)
end

-- Those of the file, formatted once.
local function requests_in(path)
   local found = {}
   for line in io.lines(path) do
      local method, target, owner = line:match("^(%S+) (%S+) ?(%S*)$")
      found[#found + 1] = method == "POST" and post(target, owner) or wrk.format("GET", target)
   end
   return found
end

function init(args)
   if args[1] == "requests" then
      local all = requests_in(args[2])
      request = function()
         turn = turn % #all + 1
         return all[turn]
      end
      return
   end
   if args[1] == "among" then
      local owners = tonumber(args[2])
      turn = tonumber(args[3])
      request = function()
         turn = turn + 1
         return post(nil, "owner-" .. turn % owners)
      end
      return
   end
   if args[1] == "owners" then
      turn = tonumber(args[2])
      local headers = { ["Content-Type"] = "application/json", ["X-Forwarded-For"] = "192.0.2.1" }
      request = function()
         turn = turn + 1
         headers["X_Owner_Id"] = "made-up-" .. turn
         return wrk.format("POST", nil, headers, '{"file":"a.jpg"}')
      end
      return
   end
   if args[1] ~= "presign" then
      posts = nil
      return
   end
   posts = {}
   for owner = 1, OWNERS do
      posts[owner] = post(nil, "owner-" .. owner)
   end
   -- With an argument of its own wrk has formatted nothing yet, so nothing is lost by it.
   request = function()
      turn = turn % OWNERS + 1
      return posts[turn]
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"bytes":%d,"microseconds":%d,"p50":%d,"p99":%d,"max":%d,"statuses":%d,"broken":%d}\n',
      summary.requests, summary.bytes, summary.duration, latency:percentile(50),
      latency:percentile(99), latency.max, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
