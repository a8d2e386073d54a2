// How the examples measure and print: seconds on the steady clock, numbers with their thousands apart.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace examples {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// 1234567 as 1,234,567.
inline std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) {
    digits.insert(i - 3, 1, ',');
  }
  return digits;
}

}  // namespace examples
