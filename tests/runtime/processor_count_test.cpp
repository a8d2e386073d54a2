// How many processors a runtime has by default: quota, affinity, WEFT_PROCS.

#include "processor_count.hpp"

#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/runtime.hpp>

#include "../support/support.hpp"

namespace {

using testing::HasSubstr;
using weft::detail::cpus_of_quota;
using weft::detail::default_processor_count;
namespace test = weft::test;

/// WEFT_PROCS for a scope; nullptr: not set.
class Procs {
 public:
  explicit Procs(const char* value) {
    if (const char* old = std::getenv("WEFT_PROCS")) old_ = old;
    set(value);
  }
  Procs(const Procs&) = delete;
  Procs& operator=(const Procs&) = delete;
  ~Procs() { set(old_ ? old_->c_str() : nullptr); }

 private:
  static void set(const char* value) {
    if (value != nullptr) {
      ::setenv("WEFT_PROCS", value, 1);
    } else {
      ::unsetenv("WEFT_PROCS");
    }
  }
  std::optional<std::string> old_;
};

// Rules: MP-2
TEST(ProcessorCountTest, QuotaIsRoundedUpAndNeverBelowTwo) {
  struct Row {
    const char* text;
    std::optional<unsigned> cpus;
  };
  const Row rows[] = {
      {"max 100000", std::nullopt},  // no limit
      {"150000 100000", 2},         {"250000 100000", 3},        {"300000 100000", 3},
      {"300001 100000", 4},         {"50000 100000", 2},         {"100000 100000", 2},
      {"200000 100000", 2},         {"200001 100000", 3},        {"1 1000000", 2},
      {"400000 50000", 8},          {"", std::nullopt},          {"100000", std::nullopt},
      {"-1 100000", std::nullopt},  // v1's "no limit"
      {"100000 0", std::nullopt},   {"100000 -5", std::nullopt}, {"what is this", std::nullopt},
  };
  for (const Row& row : rows) EXPECT_EQ(cpus_of_quota(row.text), row.cpus) << '"' << row.text << '"';
}

// Rules: MP-2
TEST(ProcessorCountTest, AnAbsurdQuotaIsBounded) {
  EXPECT_EQ(cpus_of_quota("99999999999999 1"), weft::detail::kMostProcessors);
}

// Rules: MP-1
TEST(ProcessorCountTest, TheVariableDecidesWhenItIsSet) {
  const Procs procs("37");
  EXPECT_EQ(default_processor_count(), 37U);
  const Procs most("1024");
  EXPECT_EQ(default_processor_count(), 1024U);
  const Procs empty("");
  EXPECT_GE(default_processor_count(), 1U);
}

// Rules: MP-1
TEST(ProcessorCountTest, ABadValueIsAnErrorThatNamesIt) {
  for (const char* bad : {"0", "-1", "1025", "four", "4x", "1.5", "99999999999999999999"}) {
    const Procs procs(bad);
    try {
      const unsigned count = default_processor_count();
      ADD_FAILURE() << bad << " was taken for " << count;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string("WEFT_PROCS=") + bad));
      EXPECT_THAT(error.what(), HasSubstr("from 1 to 1024"));
    }
    EXPECT_THROW(weft::Runtime(), std::invalid_argument);
  }
}

// Rules: MP-1
TEST(ProcessorCountTest, GoWithABadValueThrowsAndGoesOnOnceItIsMended) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_PROCS", "many", 1);
    try {
      weft::go([] {});
      std::puts("started");
    } catch (const std::invalid_argument& error) {
      std::puts(error.what());
    }
    ::setenv("WEFT_PROCS", "3", 1);
    weft::run([] { std::printf("%u processors\n", weft::stats().processors); });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "weft: WEFT_PROCS=many: expected a number from 1 to 1024\n3 processors\n");
}

// Rules: MP-2, MP-4
TEST(ProcessorCountTest, AnAffinityOfOneGivesOne) {
  const auto child = test::in_child([] {
    ::unsetenv("WEFT_PROCS");
    cpu_set_t set;
    ::sched_getaffinity(0, sizeof set, &set);
    int first = 0;
    while (!CPU_ISSET(first, &set)) ++first;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) std::abort();
    std::printf("%u\n", default_processor_count());
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "1\n");
}

}  // namespace
