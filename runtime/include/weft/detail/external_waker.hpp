#pragma once

// Something outside weft that may ready a goroutine at any time (a std::stop_token's source, say). While one exists, no
// deadlock is reported (DL-7).

#include <atomic>

namespace weft::detail {

class ExternalWaker {
 public:
  ExternalWaker() noexcept;
  ExternalWaker(const ExternalWaker&) = delete;
  ExternalWaker& operator=(const ExternalWaker&) = delete;
  ~ExternalWaker() { end(); }
  /// It will not call any more. May be called more than once.
  void end() noexcept;

 private:
  std::atomic<bool> is_counted_{true};
};

}  // namespace weft::detail
