-- wrk: every connection asks again as soon as it is answered. Argument: a file of request targets, one a line. Prints
-- one line of JSON.
local targets, place = {}, 0

function init(args)
  for line in io.lines(args[1]) do table.insert(targets, wrk.format("GET", line)) end
end

function request()
  place = place % #targets + 1
  return targets[place]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.6f, "p95": %.6f, "p99": %.6f, "failed": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(95) / 1e6,
    latency:percentile(99) / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
