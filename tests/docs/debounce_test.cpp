#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <weft/testing.hpp>
#include <weft/timer.hpp>
#include <weft/weft.hpp>

using namespace std::chrono_literals;

// What is to be tested: passes on the last of several values that come in quick succession, once there has been silence.
void debounce(weft::RecvChan<std::string> in, weft::SendChan<std::string> out, std::chrono::nanoseconds silence) {
  std::string last;
  weft::Timer timer(silence);
  timer.stop();
  for (bool is_open = true; is_open;) {
    weft::select(in.on_recv([&](weft::Received<std::string> value) {
      is_open = bool(value);
      if (is_open) last = *value;
      if (is_open) timer.reset(silence);
    }),
                 timer.chan().on_recv([&] { out.send(last); }));
  }
  out.close();
}

TEST(DebounceTest, PassesOnTheLastValueAfterTheSilence) {
  weft::testing::run([] {
    const auto in = weft::make_chan<std::string>();
    const auto out = weft::make_chan<std::string>(10);
    weft::go(debounce, in, out, 1min);
    const weft::TimePoint start = weft::Clock::now();

    for (const char* typed : {"w", "we", "wef", "weft"}) {
      in.send(typed);
      weft::sleep_for(59s);  // no time at all: everybody waits, so the clock jumps
    }
    weft::testing::wait();  // until debounce has done what it had to do
    EXPECT_EQ(out.size(), 0U);

    EXPECT_EQ(*out.recv(), "weft");
    EXPECT_EQ(weft::Clock::now() - start, 3 * 59s + 1min);  // exactly

    in.close();
    EXPECT_FALSE(out.recv());
    weft::testing::verify_no_leaks();
  });
}
