#pragma once

// Text for a report that is written in a signal handler: no memory is allocated and no lock is taken, but for the dynamic
// loader's while a name is looked up.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::detail {

/// Collects a report and writes it to the standard error. What does not fit is written in pieces.
class SignalText {
 public:
  SignalText() noexcept = default;
  ~SignalText() { flush(); }
  SignalText(const SignalText&) = delete;
  SignalText& operator=(const SignalText&) = delete;

  SignalText& add(std::string_view text) noexcept;
  SignalText& add_decimal(std::uint64_t value) noexcept;
  SignalText& add_hex(std::uintptr_t value) noexcept;  ///< with 0x
  /// "function+0x12" or "binary+0x123", as describe_address(); a name that takes a real demangler stays mangled.
  SignalText& add_address(const void* address) noexcept;
  void flush() noexcept;

 private:
  static constexpr std::size_t kBytes = 1024;
  void add_name(const char* symbol) noexcept;

  char bytes_[kBytes];
  std::size_t size_ = 0;
};

}  // namespace weft::detail
