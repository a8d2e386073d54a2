#pragma once

// No call of ours changes the errno that the caller can see.

#include <cerrno>

namespace weft::detail {

/// For a scope without a park in it.
class KeepErrno {
 public:
  KeepErrno() noexcept : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int saved_;
};

}  // namespace weft::detail
