// rate_limiter: a ticker lets requests through at a steady rate; with a bucket of tokens a few may come at once

// Go original: "Rate limiting" of Go by Example, with a Ticker that stops instead of time.Tick, a token bucket that ends
// with its context, and a pause after which the bucket is full again.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"

namespace {

using std::chrono::milliseconds;

/// Which request was let through when, counted from the start.
class TimeLine {
 public:
  explicit TimeLine(milliseconds column) : column_(column) {}

  void add(const char* note = "") {
    times_.push_back(std::chrono::floor<milliseconds>(weft::Clock::now() - start_));
    const auto columns = static_cast<int>(std::min<std::chrono::milliseconds::rep>(times_.back() / column_, 60));
    std::printf("  request %2zu at %5lld ms  |%*s*%s%s\n", times_.size(), static_cast<long long>(times_.back().count()),
                columns, "", *note == 0 ? "" : "  ", note);
  }

  [[nodiscard]] const std::vector<milliseconds>& times() const { return times_; }

 private:
  weft::TimePoint start_ = weft::Clock::now();
  milliseconds column_;
  std::vector<milliseconds> times_;
};

/// Every request waits for a tick.
std::vector<milliseconds> steady(milliseconds interval, std::size_t requests) {
  TimeLine line(interval / 5);
  weft::Ticker limiter(interval);
  for (std::size_t i = 0; i < requests; ++i) {
    limiter.chan().recv();
    line.add();
  }
  return line.times();
}

/// Puts a token into the bucket at each tick; a full bucket stays as it is.
void fill(const weft::Context& ctx, const weft::Chan<weft::Unit>& bucket, milliseconds interval) {
  weft::Ticker ticker(interval);
  bool is_running = true;
  while (is_running) {
    weft::select(ticker.chan().on_recv([&] { static_cast<void>(bucket.try_send(weft::Unit{})); }),
                 ctx.on_done([&] { is_running = false; }));
  }
}

/// Every request takes a token: the first `burst` find one at once, the others wait for the ticker. The pause is long
/// enough to fill the bucket again.
std::vector<milliseconds> bursty(milliseconds interval, std::size_t burst) {
  auto bucket = weft::make_chan<weft::Unit>(burst);
  for (std::size_t i = 0; i < burst; ++i) {
    bucket.send({});
  }
  const auto [ctx, cancel] = weft::with_cancel(weft::background());
  weft::WaitGroup wg;
  TimeLine line(interval / 5);
  wg.go([&, ctx = ctx] { fill(ctx, bucket, interval); });

  const auto request = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_free = bucket.size() > 0;
      bucket.recv();
      line.add(is_free ? "had a token" : "waited");
    }
  };
  request(burst + 2);
  std::printf("  ... a pause of %lld ms ...\n", static_cast<long long>((burst * interval + interval / 2).count()));
  weft::sleep_for(burst * interval + interval / 2);
  request(burst + 1);

  cancel();
  wg.wait();
  return line.times();
}

/// A rate limiter never lets anything through before its time; later than that it may be on a busy machine, but not when
/// the clock is virtual.
void check_times(const char* part, const std::vector<milliseconds>& times, const std::vector<milliseconds>& due,
                 bool is_exact, examples::Check& check) {
  check.expect(times.size() == due.size(), std::string(part) + ": every request came through");
  for (std::size_t i = 0; i < std::min(times.size(), due.size()); ++i) {
    const std::string number = std::to_string(i + 1);
    check.expect(times[i] >= due[i], std::string(part) + ": request " + number + " did not come too early");
    check.expect(!is_exact || times[i] == due[i], std::string(part) + ": request " + number + " came at its time");
  }
}

void limit(milliseconds interval, std::size_t requests, std::size_t burst, bool is_exact, examples::Check& check) {
  std::printf("steady: a request every %lld ms\n", static_cast<long long>(interval.count()));
  std::vector<milliseconds> due(requests);
  for (std::size_t i = 0; i < requests; ++i) {
    due[i] = (i + 1) * interval;
  }
  check_times("steady", steady(interval, requests), due, is_exact, check);

  std::printf("burst: the same rate, but a bucket of %zu tokens is full at the start\n", burst);
  due.assign(burst, milliseconds{0});
  due.push_back(interval);
  due.push_back(2 * interval);
  // The pause lasts half an interval too long, so the next token comes half an interval after its end.
  const milliseconds pause_end = 2 * interval + burst * interval + interval / 2;
  due.insert(due.end(), burst, pause_end);
  due.push_back((burst + 3) * interval);
  check_times("burst", bursty(interval, burst), due, is_exact, check);
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "rate_limiter",
      "Lets requests through at a limited rate and prints a time line of them: first each waits for a tick, then each\n"
      "takes a token from a bucket, which is a buffered channel that a ticker fills.");
  unsigned interval_ms = 60;
  std::size_t requests = 5;
  std::size_t burst = 3;
  bool is_virtual = false;
  command_line.number("--interval-ms", interval_ms, "Milliseconds from one request to the next", 10, 3'600'000);
  command_line.number("--requests", requests, "How many requests the steady part makes", 1, 10'000);
  command_line.number("--burst", burst, "How many tokens the bucket holds", 1, 10'000);
  command_line.flag("--virtual", is_virtual,
                    "On virtual time, as in a test: waits take no time, and every time is exact");

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("rate_limiter");
      const auto work = [&] { limit(milliseconds(interval_ms), requests, burst, is_virtual, check); };
      is_virtual ? weft::testing::run(work) : work();
      std::printf("%llu goroutines left over\n", static_cast<unsigned long long>(check.left_over()));
      return check.exit_status();
    });
  });
}
