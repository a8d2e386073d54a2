#include "signal_text.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>

namespace weft::detail {
namespace {

/// The plain names in a mangled one, for abi::__cxa_demangle allocates: "weft::detail::Worker::main" of a function without
/// its parameters. Calls add(piece) for each; false, perhaps after some of them, if there is more to it (templates,
/// operators, lambdas).
template <class Add>
bool demangle_plain(const char* at, Add add) noexcept {
  if (std::strncmp(at, "_Z", 2) != 0) return false;
  at += 2;
  const bool is_nested = *at == 'N';
  if (is_nested) ++at;
  while (is_nested && (*at == 'K' || *at == 'V' || *at == 'R' || *at == 'O')) ++at;
  if (!is_nested && *at == 'L') ++at;  // static
  for (bool is_first = true;; is_first = false) {
    std::size_t length = 0;
    while (*at >= '0' && *at <= '9' && length < 10'000) length = length * 10 + static_cast<std::size_t>(*at++ - '0');
    if (length == 0 || strnlen(at, length) < length) return false;
    if (!is_first) add("::");
    const std::string_view name(at, length);
    add(name.starts_with("_GLOBAL__N_") ? std::string_view("(anonymous namespace)") : name);
    at += length;
    if (!is_nested) return *at != 'I' && *at != 'B';
    if (*at == 'E') return at[1] != 'I';
  }
}

}  // namespace

SignalText& SignalText::add(std::string_view text) noexcept {
  for (const char c : text) {
    if (size_ == kBytes) flush();
    bytes_[size_++] = c;
  }
  return *this;
}

SignalText& SignalText::add_decimal(std::uint64_t value) noexcept {
  char digits[20];
  std::size_t at = sizeof digits;
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return add({digits + at, sizeof digits - at});
}

SignalText& SignalText::add_hex(std::uintptr_t value) noexcept {
  char digits[2 * sizeof value];
  std::size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[value % 16];
    value /= 16;
  } while (value != 0);
  return add("0x").add({digits + at, sizeof digits - at});
}

void SignalText::add_name(const char* symbol) noexcept {
  // Tried first: half a name helps nobody.
  if (demangle_plain(symbol, [](std::string_view) {})) {
    demangle_plain(symbol, [this](std::string_view piece) { add(piece); });
    return;
  }
  add(symbol);
}

SignalText& SignalText::add_address(const void* address) noexcept {
  Dl_info info;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (address == nullptr || dladdr(address, &info) == 0) return add_hex(at);
  if (info.dli_sname != nullptr) {
    add_name(info.dli_sname);
    return add("+").add_hex(at - reinterpret_cast<std::uintptr_t>(info.dli_saddr));
  }
  const char* slash = std::strrchr(info.dli_fname, '/');
  return add(slash != nullptr ? slash + 1 : info.dli_fname)
      .add("+")
      .add_hex(at - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
}

void SignalText::flush() noexcept {
  const char* at = bytes_;
  while (size_ > 0) {
    const ssize_t n = write(STDERR_FILENO, at, size_);
    if (n <= 0) break;
    at += n;
    size_ -= static_cast<std::size_t>(n);
  }
  size_ = 0;
}

}  // namespace weft::detail
