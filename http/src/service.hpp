#pragma once

// What a server is to its requests.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "weft/context.hpp"
#include "weft/http/handler.hpp"
#include "weft/http/server.hpp"

namespace weft::http::detail {

struct Service {
  const Handler handler;
  const ServerOptions options;
  const CancelPair requests_end = with_cancel(background());  // done when the server is closed
  std::atomic<bool> is_draining{
      false};  // seq_cst: connection.hpp. relaxed elsewhere: replies say so as soon as they can
  std::atomic<std::uint64_t> accepted{0}, requests{0}, bad_requests{0};  // relaxed: counters

  void log(std::string_view line) const {
    if (options.log) return options.log(line);
    const std::string whole = std::string(line) + "\n";
    std::fwrite(whole.data(), 1, whole.size(), stderr);
  }
};

}  // namespace weft::http::detail
