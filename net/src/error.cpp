#include "weft/net/error.hpp"

#include <string>
#include <system_error>

namespace weft::net {
namespace {

class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft.net"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::none:
        return "no error";
      case errc::eof:
        return "EOF";
      case errc::closed:
        return "use of closed network connection";
      case errc::timed_out:
        return "i/o timeout";
      case errc::not_pollable:
        return "file type does not support deadline";
      case errc::bad_address:
        return "not an address: want host:port, [v6]:port or :port";
      case errc::would_block:
        return "the operation would have to wait";
      case errc::closed_pipe:
        return "io: read/write on closed pipe";
    }
    return "unknown error";
  }
  [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
    if (static_cast<errc>(code) == errc::timed_out) return std::errc::timed_out;
    return {code, *this};
  }
};

constinit const Category net_category_object;

}  // namespace

const std::error_category& error_category() noexcept { return net_category_object; }

std::error_code make_error_code(errc code) noexcept {
  return code == errc::none ? std::error_code() : std::error_code(static_cast<int>(code), error_category());
}

}  // namespace weft::net
