#pragma once

// Names of signals for messages, as the system has them.

#include <string.h>

#include <cctype>
#include <string>

namespace weft::net {

/// "SIGINT"
inline std::string name_of_signal(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

/// "interrupt"
inline std::string describe_signal(int signal) {
  const char* const words = ::sigdescr_np(signal);
  std::string text = words == nullptr ? name_of_signal(signal) : words;
  if (words != nullptr) text.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
  return text;
}

}  // namespace weft::net
