// A timed operation is a select of that operation and a timeout.

#include "weft/detail/chan_core.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/select_case.hpp"

namespace weft::detail {
namespace {

ChanStatus run_timed(CaseKind kind, ChanCore* chan, void* value, std::int64_t deadline_ns) {
  SelectEntry entries[2];
  entries[0].kind = kind;
  entries[0].chan = chan;
  entries[0].slot = value;
  entries[1].kind = CaseKind::kTimeout;
  entries[1].timeout_ns = deadline_ns == kForever ? kForever : deadline_ns == INT64_MIN ? 0 : deadline_ns - now_ns();
  return run_select(entries, 2) == 0 ? entries[0].status : ChanStatus::timed_out;
}

}  // namespace

ChanStatus chan_send_until(ChanCore* chan, void* value, std::int64_t deadline_ns) {
  return run_timed(CaseKind::kSend, chan, value, deadline_ns);
}

ChanStatus chan_recv_until(ChanCore* chan, void* slot, std::int64_t deadline_ns) {
  return run_timed(CaseKind::kRecv, chan, slot, deadline_ns);
}

}  // namespace weft::detail
