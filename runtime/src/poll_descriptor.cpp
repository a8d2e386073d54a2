#include "weft/detail/poll_descriptor.hpp"

#include "netpoll.hpp"
#include "sched.hpp"
#include "worker.hpp"

namespace weft::detail {

PollDescriptor* open_poll(int fd) { return Netpoll::get_or_make().open(fd); }

void close_poll(PollDescriptor& descriptor) noexcept {
  if (Netpoll* poller = Netpoll::get()) poller->close(descriptor);
}

PollWaiting::PollWaiting() {
  // Somebody has to poll: for a plain thread the default runtime does, if there is no other.
  if (current_worker() == nullptr) static_cast<void>(default_scheduler("a wait for a file"));
  Netpoll::add_waiting(1);
}
PollWaiting::~PollWaiting() { Netpoll::add_waiting(-1); }

}  // namespace weft::detail
