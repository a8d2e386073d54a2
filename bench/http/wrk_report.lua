-- What wrk has measured, as a last line of JSON: its own report rounds.

local function count(errors, name)
  return string.format('"%s":%d', name, errors[name])
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":{%s,%s,%s,%s,%s}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    count(errors, "connect"), count(errors, "read"), count(errors, "write"), count(errors, "status"),
    count(errors, "timeout")))
end
