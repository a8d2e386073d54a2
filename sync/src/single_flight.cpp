#include "weft/single_flight.hpp"

#include "weft/error.hpp"

namespace weft::detail {

void throw_uncaught(std::exception_ptr error) {
  weft::go({.name = "singleflight"}, [error = std::move(error)] { std::rethrow_exception(error); });
}

void exit_with_leader() {
  if (this_goroutine::is_goroutine()) exit_goroutine();
  throw_panic("weft: SingleFlight::do_call: the call that was waited for ended by exit_goroutine");
}

}  // namespace weft::detail
