#include "peer_watch.hpp"

#include <mutex>
#include <utility>

#include "weft/net/error.hpp"

namespace weft::http::detail {

std::shared_ptr<PeerWatch> PeerWatch::start(net::detail::File& file, CancelFunc cancel) {
  auto watch = std::make_shared<PeerWatch>(file, std::move(cancel));
  watch->wait();
  return watch;
}

void PeerWatch::wait() {
  file_.go_when_readable([self = shared_from_this()] { self->look(); });
}

void PeerWatch::look() {
  const std::scoped_lock guard(mutex_);
  if (has_ended_) return;
  std::error_code error;
  const bool has_sent = file_.peek_now(error);
  if (error == net::errc::would_block) {
    wait();
  } else if (!has_sent) {
    cancel_();
  }  // what it has sent is the next request: there is nothing more to be told from it
}

void PeerWatch::end() {
  {
    const std::scoped_lock guard(mutex_);
    has_ended_ = true;
  }
  file_.start_what_waits();
}

}  // namespace weft::http::detail
