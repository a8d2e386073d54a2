#pragma once

// Looks whether the peer goes while a handler works, without reading what it may have sent: ends the request's context.

#include <memory>

#include "weft/context.hpp"
#include "weft/mutex.hpp"
#include "weft/net/detail/file.hpp"

namespace weft::http::detail {

class PeerWatch : public std::enable_shared_from_this<PeerWatch> {
 public:
  /// Of a file that nobody reads until end().
  static std::shared_ptr<PeerWatch> start(net::detail::File& file, CancelFunc cancel);
  PeerWatch(net::detail::File& file, CancelFunc cancel) noexcept : file_(file), cancel_(std::move(cancel)) {}

  /// The file is not touched any more.
  void end();

 private:
  void wait();
  void look();

  net::detail::File& file_;
  const CancelFunc cancel_;
  Mutex mutex_;
  bool has_ended_ = false;  // guarded by mutex_
};

}  // namespace weft::http::detail
