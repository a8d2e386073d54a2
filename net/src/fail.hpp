#pragma once

// From one form of an error to the other.

#include <string>
#include <string_view>
#include <system_error>

namespace weft::net {

/// What the throwing forms do with an error: the message names the call and the address.
[[noreturn]] inline void fail(const std::error_code& error, const char* call, std::string_view address) {
  throw std::system_error(error, std::string("weft: net: ") + call + " \"" + std::string(address) + "\"");
}

/// What make() returns; what it throws of the system's becomes the error.
template <class F>
auto or_error(std::error_code& error, F make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::system_error& refused) {
    error = refused.code();
    return {};
  }
}

}  // namespace weft::net
