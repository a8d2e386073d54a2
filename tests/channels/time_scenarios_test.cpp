// Whole programs of section 28 of the contract in which time matters, on virtual time, with their exact results.

#include <array>
#include <chrono>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::Clock;
using weft::make_chan;
using weft::Received;
using weft::RecvChan;
using weft::sleep_for;
using weft::Ticker;
using weft::TimePoint;
using weft::Unit;
using Ns = std::chrono::nanoseconds;

/// Runs the program in a bubble and returns what it has printed. Nobody may be left behind.
std::string output_of(const std::function<void(std::ostream&)>& program) {
  std::ostringstream out;
  weft::testing::run([&] {
    program(out);
    weft::testing::verify_no_leaks();
  });
  std::string text = out.str();
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

long ms_since(TimePoint start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

// Rules: S-15, TM-15
TEST(TimeScenariosTest, RateLimiter) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              const TimePoint start = Clock::now();
              const auto requests = make_chan<int>(5);
              for (int i = 1; i <= 5; ++i) requests.send(i);
              requests.close();
              const Ticker limiter(200ms);
              for (const int request : requests) {
                static_cast<void>(request);
                static_cast<void>(limiter.chan().recv());
                out << ms_since(start) << ' ';
              }
            }),
            "200 400 600 800 1000");
}

struct Worker {
  Chan<Unit> done = make_chan<Unit>();
  Chan<int> work = make_chan<int>();
  Chan<Unit> pulse = make_chan<Unit>(1);
  int worked = 0;

  void run(int pulses) {
    const Ticker ticker(1s);
    for (bool is_over = false; !is_over;) {
      weft::select(done.on_recv([&] { is_over = true; }), work.on_recv([&] { ++worked; }), ticker.chan().on_recv([&] {
        if (pulses-- > 0) static_cast<void>(pulse.try_send(Unit()));
      }));
    }
  }
};

// Rules: S-18, TM-15
TEST(TimeScenariosTest, Heartbeat) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              Worker worker;
              weft::WaitGroup group;
              group.go([&] { worker.run(1000); });
              group.go([&] {
                for (int i = 0; i < 3; ++i) {
                  sleep_for(3s);
                  worker.work.send(i);
                }
              });
              int pulses = 0;
              const RecvChan<TimePoint> end = weft::after(10500ms);
              for (bool is_over = false; !is_over;) {
                weft::select(worker.pulse.on_recv([&] { ++pulses; }), end.on_recv([&] { is_over = true; }));
              }
              worker.done.close();
              group.wait();
              out << "pulses " << pulses << " work " << worker.worked;
            }),
            "pulses 10 work 3");
}

// Rules: S-18
TEST(TimeScenariosTest, HeartbeatThatStops) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              const TimePoint start = Clock::now();
              Worker worker;
              weft::WaitGroup group;
              group.go([&] { worker.run(4); });
              while (worker.pulse.recv_for(2s)) {
              }
              out << "unhealthy at " << ms_since(start) / 1000 << 's';
              worker.done.close();
              group.wait();
            }),
            "unhealthy at 6s");
}

/// Closed when `d` has passed or nobody is interested any more.
RecvChan<Unit> signal_after(Ns d, RecvChan<Unit> stop) {
  const auto signal = make_chan<Unit>();
  weft::go([=] {
    weft::select(weft::after(d).on_recv(), stop.on_recv());
    signal.close();
  });
  return signal;
}

/// Closed when the first of the signals is, with all the helpers on the way.
RecvChan<Unit> any_of(std::vector<RecvChan<Unit>> signals) {
  if (signals.empty()) return {};
  if (signals.size() == 1) return signals.front();
  const auto any = make_chan<Unit>();
  weft::go([any, signals = std::move(signals)] {
    if (signals.size() == 2) {
      weft::select(signals[0].on_recv(), signals[1].on_recv());
    } else {
      std::vector<RecvChan<Unit>> rest(signals.begin() + 2, signals.end());
      rest.push_back(any);
      const RecvChan<Unit> others = any_of(std::move(rest));
      weft::select(signals[0].on_recv(), signals[1].on_recv(), others.on_recv());
    }
    any.close();
  });
  return any;
}

// Rules: S-19
TEST(TimeScenariosTest, OrChannel) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              const TimePoint start = Clock::now();
              const auto stop = make_chan<Unit>();
              std::vector<RecvChan<Unit>> signals;
              for (const Ns d : {Ns(2h), Ns(5min), Ns(1s), Ns(1h), Ns(1min)}) signals.push_back(signal_after(d, stop));
              static_cast<void>(any_of(std::move(signals)).recv());
              out << ms_since(start) / 1000 << 's';
              stop.close();
            }),
            "1s");
}

// Rules: S-25, SEL-22
TEST(TimeScenariosTest, SelectTimeouts) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              int round = 0;
              for (const Ns patience : {1s, 3s}) {
                ++round;
                const auto result = make_chan<int>(1);  // its sender ends whether anybody listens or not
                weft::go([=] {
                  sleep_for(2s);
                  result.send(round);
                });
                weft::select(result.on_recv([&](Received<int> value) { out << "result " << *value << ' '; }),
                             weft::after(patience).on_recv([&] { out << "timeout " << round << ' '; }));
              }
              sleep_for(1s);
            }),
            "timeout 1 result 2");
}

// Rules: S-31, TM-4
TEST(TimeScenariosTest, SleepSort) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              const std::array<int, 10> values{5, 3, 6, 6, 1, 2, 9, 4, 8, 0};
              const auto sorted = make_chan<int>(values.size());
              for (const int value : values) {
                weft::go([=] {
                  sleep_for(value * 1ms);
                  sorted.send(value);
                });
              }
              for (std::size_t i = 0; i < values.size(); ++i) out << *sorted.recv() << ' ';
            }),
            "0 1 2 3 4 5 6 6 8 9");
}

// Rules: S-32, TM-15
TEST(TimeScenariosTest, TickerWithASlowReceiver) {
  EXPECT_EQ(output_of([](std::ostream& out) {
              const TimePoint start = Clock::now();
              const Ticker ticker(10ms);
              for (int i = 0; i < 4; ++i) {
                sleep_for(37ms);
                const TimePoint tick = *ticker.chan().recv();
                out << std::chrono::duration_cast<std::chrono::milliseconds>(tick - start).count() << ' ';
              }
            }),
            "10 40 80 120");
}

// Rules: S-13, LEAK-4
TEST(TimeScenariosTest, PipelineWithoutCancellationLeaksItsTwoStages) {
  const auto numbers = make_chan<int>();
  const auto squares = make_chan<int>();
  std::string report;
  weft::Runtime runtime(weft::RuntimeOptions{.processors = 2});
  runtime.run([&] {
    weft::go([=] {
      for (int i = 1; i < 100; ++i) numbers.send(i);
    });
    weft::go([=] {
      for (const int i : numbers) squares.send(i * i);
    });
    EXPECT_EQ(*squares.recv(), 1);
    try {
      weft::testing::verify_no_leaks();
    } catch (const weft::Panic& panic) {
      report = panic.what();
    }
  });
  EXPECT_TRUE(report.starts_with("weft: testing::verify_no_leaks: 2 goroutines are left:\n\tgoroutine ")) << report;
  const std::size_t first = report.find(" [chan send]: created by ");
  ASSERT_NE(first, std::string::npos) << report;
  EXPECT_NE(report.find(" [chan send]: created by ", first + 1), std::string::npos) << report;
  runtime.run([&] {  // let them end, on whom nobody else waits
    for (int i = 2; i < 100; ++i) EXPECT_EQ(*squares.recv(), i * i);
    numbers.close();
    weft::testing::verify_no_leaks();
  });
}

}  // namespace
