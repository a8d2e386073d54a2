// Idle: who sleeps, who searches, whom a submission wakes, who keeps the time. White-box, without threads of a runtime.

#include "idle.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/runtime.hpp>

#include "../support/support.hpp"
#include "sched.hpp"
#include "worker.hpp"

namespace {

using weft::detail::Idle;
using weft::detail::kForever;
using weft::detail::Processor;
using weft::detail::Scheduler;
using weft::detail::Worker;
namespace test = weft::test;

/// Workers and processors of a scheduler that never starts.
class IdleTest : public testing::Test {
 protected:
  static constexpr unsigned kCount = 4;

  IdleTest() {
    for (unsigned i = 0; i < kCount; ++i) workers_[i] = std::make_unique<Worker>(scheduler_, i);
  }
  Worker& worker(std::size_t i) { return *workers_[i]; }
  Processor& processor(std::size_t i) { return *scheduler_.processors[i]; }

  Scheduler scheduler_{weft::RuntimeOptions{.processors = kCount}, {}, nullptr};
  std::array<std::unique_ptr<Worker>, kCount> workers_;
  Idle idle_;
};

// Rules: SCH-13
TEST_F(IdleTest, ASubmissionWakesSomebodyOnlyIfAProcessorIsFreeAndNobodySearches) {
  EXPECT_FALSE(idle_.should_wake()) << "no processor is free";
  idle_.go_to_sleep(worker(0), processor(0));
  EXPECT_TRUE(idle_.should_wake());
  idle_.start_search();
  EXPECT_FALSE(idle_.should_wake()) << "somebody searches";
  const Idle::Wake wake = idle_.claim_wake();
  EXPECT_EQ(wake.processor, nullptr);
  EXPECT_TRUE(idle_.leave_search()) << "the last searcher is replaced";
  EXPECT_TRUE(idle_.should_wake());
}

// Rules: SCH-13
TEST_F(IdleTest, TheNewestSleeperIsWokenWithAProcessorAndCountsAsSearching) {
  idle_.go_to_sleep(worker(0), processor(0));
  idle_.go_to_sleep(worker(1), processor(1));
  EXPECT_EQ(idle_.free_processors(), 2U);
  EXPECT_TRUE(idle_.is_asleep(worker(0)));
  EXPECT_EQ(worker(1).processor, nullptr);

  const Idle::Wake wake = idle_.claim_wake();
  EXPECT_EQ(wake.worker, &worker(1));
  EXPECT_EQ(wake.processor, &processor(1));
  EXPECT_EQ(worker(1).processor, &processor(1));
  EXPECT_TRUE(worker(1).is_searching);
  EXPECT_FALSE(idle_.is_asleep(worker(1)));
  EXPECT_EQ(idle_.searching(), 1U);
  EXPECT_EQ(idle_.free_processors(), 1U);

  EXPECT_EQ(idle_.claim_wake().processor, nullptr) << "one searcher is enough";
  EXPECT_TRUE(idle_.leave_search());
  EXPECT_EQ(idle_.claim_wake().worker, &worker(0));
  EXPECT_FALSE(idle_.leave_search()) << "nobody is left to be woken";
}

// Rules: SCH-13
TEST_F(IdleTest, AFreeProcessorWithoutASleeperAsksForANewThread) {
  idle_.give_back(processor(2));
  const Idle::Wake wake = idle_.claim_wake();
  EXPECT_EQ(wake.processor, &processor(2));
  EXPECT_EQ(wake.worker, nullptr);
  EXPECT_EQ(idle_.searching(), 1U);
}

// Rules: SCH-12
TEST_F(IdleTest, AtMostHalfOfTheBusyProcessorsSearch) {
  EXPECT_TRUE(idle_.try_start_search(kCount));
  EXPECT_TRUE(idle_.try_start_search(kCount));
  EXPECT_FALSE(idle_.try_start_search(kCount));
  EXPECT_FALSE(idle_.leave_search());
  idle_.give_back(processor(0));
  idle_.give_back(processor(1));
  EXPECT_FALSE(idle_.try_start_search(kCount)) << "two are busy, one of them searches";
}

// Rules: I3
TEST_F(IdleTest, ASleeperGetsUpOnlyIfAProcessorIsFreeAndNobodyHasWokenIt) {
  idle_.go_to_sleep(worker(0), processor(0));
  const std::uint64_t before = idle_.departures();
  EXPECT_EQ(idle_.get_up(worker(0)), &processor(0));
  EXPECT_TRUE(worker(0).is_searching);
  EXPECT_EQ(idle_.searching(), 1U);
  EXPECT_EQ(idle_.departures(), before + 1);
  EXPECT_EQ(idle_.get_up(worker(0)), nullptr) << "it is up already";
  static_cast<void>(idle_.leave_search());

  idle_.go_to_sleep(worker(0), processor(0));
  idle_.go_to_sleep(worker(1), processor(1));
  EXPECT_NE(idle_.get_up(worker(0)), nullptr);
  EXPECT_NE(idle_.get_up(worker(1)), nullptr);
  worker(2).is_asleep = false;
  EXPECT_EQ(idle_.get_up(worker(2)), nullptr);
}

TEST_F(IdleTest, ARemovedSleeperIsNotWoken) {
  idle_.go_to_sleep(worker(0), processor(0));
  idle_.go_to_sleep(worker(1), processor(1));
  EXPECT_TRUE(idle_.remove(worker(1)));
  EXPECT_FALSE(idle_.remove(worker(1)));
  EXPECT_EQ(idle_.claim_wake().worker, &worker(0));
  EXPECT_FALSE(idle_.remove(worker(0))) << "somebody is just waking it";
}

// Rules: TM-20
TEST_F(IdleTest, TheTimeKeeperIsPokedForEarlierDeadlinesOnly) {
  EXPECT_EQ(idle_.keeper_to_poke(5), nullptr) << "nobody keeps the time";
  idle_.go_to_sleep(worker(0), processor(0));
  idle_.offer_keeper(worker(0));
  EXPECT_EQ(idle_.keeper_to_poke(kForever - 1), &worker(0)) << "it has not read the deadlines yet";
  idle_.keep_time(worker(0), 1'000);
  EXPECT_EQ(idle_.keeper_to_poke(1'000), nullptr);
  EXPECT_EQ(idle_.keeper_to_poke(2'000), nullptr);
  EXPECT_EQ(idle_.keeper_to_poke(500), &worker(0));
  EXPECT_EQ(idle_.keeper_to_poke(600), nullptr) << "it has been poked for an earlier one";
  EXPECT_EQ(idle_.keeper_to_poke(400), &worker(0));

  // Another sleeper takes over only for an earlier deadline.
  idle_.keep_time(worker(0), 1'000);
  idle_.go_to_sleep(worker(1), processor(1));
  idle_.offer_keeper(worker(1));
  idle_.keep_time(worker(1), 3'000);
  EXPECT_EQ(idle_.keeper_to_poke(900), &worker(0));
  idle_.keep_time(worker(1), 100);
  EXPECT_EQ(idle_.keeper_to_poke(50), &worker(1));

  // Awake, it keeps the time no more; and who is awake cannot take it over.
  EXPECT_NE(idle_.get_up(worker(1)), nullptr);
  EXPECT_EQ(idle_.keeper_to_poke(1), nullptr);
  idle_.keep_time(worker(1), 10);
  EXPECT_EQ(idle_.keeper_to_poke(1), nullptr);
}

// Others rely on whoever they see searching: it must be somebody who will look at the queues.
// Broken to check it: claim_wake() raised searching_ before it knew of a free processor: searching() was 1.
// Rules: I3, SCH-13
TEST_F(IdleTest, ClaimWithoutAFreeProcessorNeverLooksLikeASearcher) {
  std::atomic<bool> stop{false};
  std::thread claimer([&] {
    while (!stop.load()) {
      if (idle_.claim_wake().processor != nullptr) ADD_FAILURE() << "a processor from nowhere";
    }
  });
  unsigned seen = 0;
  for (int i = 0; i < test::rounds(500'000); ++i) seen = std::max(seen, idle_.searching());
  EXPECT_EQ(seen, 0U);
  stop.store(true);
  claimer.join();
}

// Rules: I1, I3
TEST_F(IdleTest, NoProcessorIsLostOrHeldTwiceHoweverItsHoldersSleepAndWake) {
  // Four threads are the workers, two others submit. A worker that sleeps waits to be woken, or gets up by itself.
  std::array<std::atomic<int>, kCount> holders{};
  std::atomic<bool> stop{false};
  const auto hold = [&](Worker& self) {
    if (holders[self.processor->index].fetch_add(1) != 0) ADD_FAILURE() << "a processor has two holders";
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kCount; ++i) {
    threads.emplace_back([&, i] {
      Worker& self = worker(i);
      test::Lcg random(i);
      self.processor = &processor(i);
      hold(self);
      for (int lap = 0; lap < test::rounds(500); ++lap) {
        holders[self.processor->index].fetch_sub(1);
        idle_.go_to_sleep(self, *self.processor);
        idle_.offer_keeper(self);
        idle_.keep_time(self, static_cast<std::int64_t>(random.below(100)));
        if (random.below(2) == 0) static_cast<void>(idle_.get_up(self));
        while (idle_.is_asleep(self)) {
          static_cast<void>(idle_.get_up(self));
          std::this_thread::yield();
        }
        hold(self);
        if (!self.is_searching) ADD_FAILURE() << "woken without a search";
        self.is_searching = false;
        static_cast<void>(idle_.leave_search());
      }
    });
  }
  for (int submitter = 0; submitter < 2; ++submitter) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        static_cast<void>(idle_.keeper_to_poke(50));
        if (!idle_.should_wake()) continue;
        const Idle::Wake wake = idle_.claim_wake();
        if (wake.processor == nullptr || wake.worker != nullptr) continue;
        idle_.give_back(*wake.processor);  // as if no thread could be started
        static_cast<void>(idle_.leave_search());
      }
    });
  }
  for (unsigned i = 0; i < kCount; ++i) threads[i].join();
  stop.store(true);
  for (std::size_t i = kCount; i < threads.size(); ++i) threads[i].join();
  EXPECT_EQ(idle_.free_processors(), 0U);
  EXPECT_EQ(idle_.searching(), 0U);
  for (const std::atomic<int>& count : holders) EXPECT_EQ(count.load(), 1);
}

}  // namespace
