// Blocks of channels that are gone: kept by the worker on whose thread they were freed, for a while.

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../support/support.hpp"
#include "weft/weft.hpp"

namespace {

using weft::Chan;
using weft::make_chan;
namespace test = weft::test;

// Broken to check it: with workers that end without giving back, two megabytes are lost.
TEST(ChanMemoryTest, WorkersThatEndGiveBackWhatTheyHaveKept) {
  if constexpr (test::kSanitized) GTEST_SKIP() << "the sanitizer's allocator counts otherwise";
  constexpr int kRounds = 200;
  constexpr int kChannels = 60;
  const auto round = [] {
    weft::run({.processors = 2}, [] {
      std::vector<Chan<long>> channels;
      for (int i = 0; i < kChannels; ++i) channels.push_back(make_chan<long>(4));
    });
  };
  round();
  const std::size_t before = mallinfo2().uordblks;
  for (int i = 0; i < kRounds; ++i) round();
  EXPECT_LT(mallinfo2().uordblks, before + std::size_t{kRounds} * kChannels * 32);
}

TEST(ChanMemoryTest, BlocksGoFromGoroutinesToThreadsAndBack) {
  std::vector<Chan<int>> channels;
  for (int round = 0; round < 100; ++round) {
    weft::run({.processors = 2}, [&] {
      channels.clear();
      for (int i = 0; i < 100; ++i) channels.push_back(make_chan<int>(1));
    });
    for (const Chan<int>& chan : channels) chan.send(round);
    if (round % 2 == 0) channels.clear();
    for (int i = 0; i < 100; ++i) channels.push_back(make_chan<int>(2));
  }
}

TEST(ChanMemoryTest, BlocksOfEachSizeAndAlignmentComeAndGo) {
  struct alignas(256) Wide {
    std::byte bytes[256];
  };
  for (int i = 0; i < 100; ++i) {
    const auto plain = make_chan<char>();
    const auto buffered = make_chan<std::int64_t>(static_cast<std::size_t>(i));
    const auto wide = make_chan<Wide>(3);
    for (int k = 0; k < i; ++k) buffered.send(k);
    for (int k = 0; k < 3; ++k) wide.send(Wide{});
    for (int k = 0; k < i; ++k) EXPECT_EQ(*buffered.recv(), k);
  }
}

/// Its end takes a while, and may go on on another thread.
struct Wanderer {
  std::unique_ptr<int> value = std::make_unique<int>(1);
  Wanderer() = default;
  Wanderer(Wanderer&&) noexcept = default;
  Wanderer& operator=(Wanderer&&) noexcept = default;
  ~Wanderer() {
    if (value != nullptr) weft::yield();
  }
};

TEST(ChanMemoryTest, AnElementsEndMayMoveToAnotherThread) {
  weft::run({.processors = 4}, [] {
    weft::WaitGroup all;
    for (int g = 0; g < 16; ++g) {
      all.go([] {
        for (int i = 0; i < test::rounds(200); ++i) {
          const auto chan = make_chan<Wanderer>(2);
          chan.send(Wanderer());
          chan.send(Wanderer());
        }
      });
    }
    all.wait();
  });
}

}  // namespace
