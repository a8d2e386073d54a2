// SyncMap: the calls one by one against a plain map, the same from many goroutines, and user code that calls back.

#include <weft/sync_map.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using weft::SyncMap;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<SyncMap<int, int>>);
static_assert(!std::is_move_constructible_v<SyncMap<int, int>>);

/// A hash that sends many keys to one number.
struct Crowded {
  std::size_t operator()(int key) const { return static_cast<std::size_t>(key % 3); }
};

template <class Map>
std::map<int, int> contents(const Map& map) {
  std::map<int, int> found;
  map.range([&](int key, int value) { EXPECT_TRUE(found.emplace(key, value).second) << "visited twice: " << key; });
  return found;
}

/// One random operation on both maps; the results must be equal.
template <class Map>
void do_the_same(test::Lcg& random, Map& map, std::map<int, int>& model) {
  const int key = static_cast<int>(random.below(20));
  const int value = static_cast<int>(random.below(4));
  const auto at = model.find(key);
  const std::optional<int> known = at == model.end() ? std::nullopt : std::optional<int>(at->second);
  switch (random.below(9)) {
    case 0:
      EXPECT_EQ(map.load(key), known);
      EXPECT_EQ(map.contains(key), known.has_value());
      break;
    case 1:
      map.store(key, value);
      model[key] = value;
      break;
    case 2: {
      const std::pair<int, bool> result = map.load_or_store(key, value);
      EXPECT_EQ(result, std::pair(known.value_or(value), known.has_value()));
      model.emplace(key, value);
      break;
    }
    case 3:
      EXPECT_EQ(map.load_and_delete(key), known);
      model.erase(key);
      break;
    case 4:
      EXPECT_EQ(map.erase(key), known.has_value());
      model.erase(key);
      break;
    case 5:
      EXPECT_EQ(map.swap(key, value), known);
      model[key] = value;
      break;
    case 6:
      EXPECT_EQ(map.compare_and_swap(key, value, value + 1), known == value);
      if (known == value) model[key] = value + 1;
      break;
    case 7:
      EXPECT_EQ(map.compare_and_delete(key, value), known == value);
      if (known == value) model.erase(key);
      break;
    default:
      if (random.below(50) == 0) {
        map.clear();
        model.clear();
      }
      EXPECT_EQ(contents(map), model);
      EXPECT_EQ(map.size(), model.size());
      break;
  }
}

// Rules: MAP-1
TEST(SyncMapTest, DoesInTurnWhatALockedMapDoes) {
  test::everywhere([] {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      test::Lcg random(seed);
      SyncMap<int, int> map;
      SyncMap<int, int, Crowded> crowded;
      std::map<int, int> model;
      std::map<int, int> crowded_model;
      for (int i = 0; i < 500; ++i) {
        do_the_same(random, map, model);
        do_the_same(random, crowded, crowded_model);
        ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << ", operation " << i;
      }
      EXPECT_EQ(contents(map), model);
      EXPECT_EQ(contents(crowded), crowded_model);
    }
  });
}

// Rules: MAP-1
TEST(SyncMapTest, ComparisonsWithAnAbsentKeyAreFalseAlsoForNil) {
  SyncMap<int, std::shared_ptr<int>> map;
  EXPECT_FALSE(map.compare_and_swap(1, nullptr, nullptr));
  EXPECT_FALSE(map.compare_and_delete(1, nullptr));
  EXPECT_EQ(map.size(), 0U);
  map.store(1, nullptr);
  EXPECT_TRUE(map.compare_and_swap(1, nullptr, std::make_shared<int>(2)));
  EXPECT_FALSE(map.compare_and_delete(1, nullptr));
}

// Rules: MAP-4
TEST(SyncMapTest, NilAndEmptyAreKeysAndValuesLikeAnyOther) {
  SyncMap<int*, int*> map;
  EXPECT_EQ(map.load(nullptr), std::nullopt);
  map.store(nullptr, nullptr);
  EXPECT_EQ(map.load(nullptr), std::optional<int*>(nullptr));
  EXPECT_EQ(map.load_or_store(nullptr, nullptr), (std::pair<int*, bool>(nullptr, true)));
  SyncMap<std::string, std::string> texts;
  texts.store("", "");
  EXPECT_EQ(texts.load_and_delete(""), "");
  EXPECT_FALSE(texts.erase(""));
}

// Rules: MAP-4
TEST(SyncMapTest, OfManyWhoLoadOrStoreExactlyOneStores) {
  const int rounds = test::rounds(300);
  for (int round = 0; round < rounds; ++round) {
    SyncMap<int, int> map;
    std::atomic<int> stored{0};
    std::atomic<int> seen{-1};
    WaitGroup group;
    for (int g = 0; g < 100; ++g) {
      group.go([&, g] {
        const auto [value, loaded] = map.load_or_store(7, g);
        if (!loaded) stored.fetch_add(1);
        int nobody = -1;
        const bool is_first = seen.compare_exchange_strong(nobody, value);
        EXPECT_TRUE(is_first || nobody == value);
      });
    }
    group.wait();
    ASSERT_EQ(stored.load(), 1);
    ASSERT_EQ(map.size(), 1U);
  }
}

// Rules: MAP-4
TEST(SyncMapTest, WhatIsRemovedOrReplacedIsLetGoAtOnce) {
  struct Value {
    std::shared_ptr<int> held;
  };
  const auto token = std::make_shared<int>(0);
  SyncMap<std::shared_ptr<int>, Value> map;
  for (int i = 0; i < 100; ++i) map.store(std::make_shared<int>(i), Value{token});
  map.store(token, Value{token});
  EXPECT_EQ(token.use_count(), 103);
  map.store(token, Value{nullptr});
  EXPECT_EQ(token.use_count(), 102);
  map.erase(token);
  EXPECT_EQ(token.use_count(), 101);
  map.clear();
  EXPECT_EQ(token.use_count(), 1);
}

// Rules: MAP-1
TEST(SyncMapTest, ManyAddersWithCompareAndSwapLoseNothing) {
  constexpr int kKeys = 5;
  constexpr int kGoroutines = 8;
  const int turns = test::rounds(2000);
  SyncMap<int, int, Crowded> map;
  WaitGroup group;
  for (int g = 0; g < kGoroutines; ++g) {
    group.go([&, g] {
      for (int i = 0; i < turns; ++i) {
        const int key = (g + i) % kKeys;
        for (;;) {
          const std::optional<int> now = map.load(key);
          if (now ? map.compare_and_swap(key, *now, *now + 1) : !map.load_or_store(key, 1).second) break;
          weft::yield();
        }
      }
    });
  }
  group.wait();
  int sum = 0;
  map.range([&](int, int n) { sum += n; });
  EXPECT_EQ(sum, kGoroutines * turns);
}

// Rules: MAP-1
TEST(SyncMapTest, EachStoredValueIsTakenOutByExactlyOne) {
  constexpr int kGoroutines = 8;
  const int values = test::rounds(2000);
  SyncMap<int, int> map;
  std::atomic<long> put{0};
  std::atomic<long> taken{0};
  WaitGroup group;
  for (int g = 0; g < kGoroutines; ++g) {
    group.go([&, g] {
      for (int i = 0; i < values; ++i) {
        const int value = g * values + i + 1;
        put.fetch_add(value);
        if (const std::optional<int> old = map.swap(i % 7, value)) taken.fetch_add(*old);
        if (const std::optional<int> old = map.load_and_delete((i + g) % 7)) taken.fetch_add(*old);
        const std::optional<int> seen = map.load(g % 7);
        if (seen && map.compare_and_delete(g % 7, *seen)) taken.fetch_add(*seen);
      }
    });
  }
  group.wait();
  map.range([&](int, int value) { taken.fetch_add(value); });
  EXPECT_EQ(taken.load(), put.load());
}

// Rules: MAP-2
TEST(SyncMapTest, WhoReadsAValueSeesWhatItsWriterDid) {
  struct Plain {
    int a = 0;
    int b = 0;
  };
  const int rounds = test::rounds(2000);
  for (int round = 0; round < rounds; ++round) {
    SyncMap<int, Plain*> map;
    Plain plain;
    WaitGroup group;
    group.go([&] {
      plain.a = 1;
      plain.b = 2;
      map.store(0, &plain);
    });
    group.go([&] {
      std::optional<Plain*> found;
      test::eventually([&] { return (found = map.load(0)).has_value(); });
      EXPECT_EQ((*found)->a + (*found)->b, 3);
    });
    group.wait();
  }
}

// Rules: MAP-3
TEST(SyncMapTest, ARangeAmongWritersVisitsEachKeyOnceWithAValueThatWasStored) {
  constexpr std::int64_t kKeys = 1024;
  SyncMap<std::int64_t, std::int64_t> map;
  for (std::int64_t key = 1; key <= kKeys; ++key) map.store(key, key);
  std::atomic<bool> is_over{false};
  WaitGroup group;
  for (std::int64_t g = 1; g <= 4; ++g) {
    group.go([&, g] {
      for (std::int64_t i = 0; !is_over.load(); ++i) {
        for (std::int64_t key = 1; key < kKeys; ++key) {
          map.store(key, key * i * g);
          if (key % 64 == 0) weft::yield();
        }
      }
    });
  }
  const int rounds = test::rounds(40);
  for (int round = 0; round < rounds; ++round) {
    std::set<std::int64_t> seen;
    map.range([&](std::int64_t key, std::int64_t value) {
      EXPECT_EQ(value % key, 0);
      EXPECT_TRUE(seen.insert(key).second);
      if (key % 128 == 0) weft::yield();
    });
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(kKeys));
  }
  is_over = true;
  group.wait();
}

// Rules: MAP-3
TEST(SyncMapTest, ARangeStopsWhenToldTo) {
  SyncMap<int, int> map;
  for (int i = 0; i < 100; ++i) map.store(i, i);
  int visits = 0;
  map.range([&](int, int) { return ++visits < 10; });
  EXPECT_EQ(visits, 10);
}

// Rules: MAP-3
TEST(SyncMapTest, TheFunctionOfARangeMayCallAnything) {
  test::everywhere([] {
    SyncMap<int, std::string> map;
    for (int i = 0; i < 8; ++i) map.store(i, "a value");
    map.range([&](int key, const std::string&) {
      map.range([&](int inner, const std::string& value) {
        EXPECT_EQ(map.load(inner), value);
        EXPECT_FALSE(map.load_or_store(42, "dummy").second);
        map.store(42, "another");
        EXPECT_EQ(map.swap(42, "a third"), "another");
        EXPECT_TRUE(map.compare_and_swap(42, "a third", "a fourth"));
        EXPECT_EQ(map.load_and_delete(42), "a fourth");
        EXPECT_FALSE(map.erase(42));
        return true;
      });
      EXPECT_TRUE(map.erase(key));
    });
    EXPECT_EQ(map.size(), 0U);
    map.store(1, "x");
    map.range([&](int, const std::string&) { map.clear(); });
    EXPECT_EQ(map.size(), 0U);
  });
}

/// What the values below do whenever they are copied, compared or destroyed.
std::function<void()>& hook() {
  static std::function<void()> function;
  return function;
}
std::atomic<int> depth{0};
std::atomic<int> calls{0};

void call_back() {
  if (!hook() || depth.load() > 0) return;
  ++depth;
  ++calls;
  hook()();
  --depth;
}

struct CallsBack {
  int n = 0;
  CallsBack() = default;
  explicit CallsBack(int value) : n(value) {}
  CallsBack(const CallsBack& other) : n(other.n) { call_back(); }
  CallsBack& operator=(const CallsBack&) = default;
  ~CallsBack() { call_back(); }
  bool operator==(const CallsBack& other) const {
    call_back();
    return n == other.n;
  }
};

// Rules: HZ-7
TEST(SyncMapTest, CopiesComparisonsAndDestructorsMayCallTheMap) {
  weft::run([] {
    SyncMap<int, CallsBack, Crowded> map;
    hook() = [&map] {
      static_cast<void>(map.size());
      for (int key = 0; key < 6; ++key) static_cast<void>(map.contains(key));
    };
    for (int key = 0; key < 6; ++key) map.store(key, CallsBack(key));
    map.store(1, CallsBack(11));
    EXPECT_EQ(map.load(1)->n, 11);
    EXPECT_TRUE(map.compare_and_swap(1, CallsBack(11), CallsBack(12)));
    EXPECT_TRUE(map.compare_and_delete(1, CallsBack(12)));
    EXPECT_EQ(map.swap(2, CallsBack(22))->n, 2);
    EXPECT_EQ(map.load_and_delete(2)->n, 22);
    EXPECT_TRUE(map.erase(3));
    EXPECT_FALSE(map.load_or_store(3, CallsBack(3)).second);
    map.clear();
    hook() = nullptr;
    EXPECT_GT(calls.load(), 20);
  });
}

/// A hash and an equality that park.
struct SlowHash {
  std::size_t operator()(int key) const {
    weft::yield();
    return static_cast<std::size_t>(key % 2);
  }
};
struct SlowEqual {
  bool operator()(int a, int b) const {
    weft::yield();
    return a == b;
  }
};

// Rules: HZ-7
TEST(SyncMapTest, HashAndEqualityMayYield) {
  SyncMap<int, int, SlowHash, SlowEqual> map;
  const int turns = test::rounds(200);
  WaitGroup group;
  std::atomic<int> stored{0};
  for (int g = 0; g < 8; ++g) {
    group.go([&] {
      for (int i = 0; i < turns; ++i) {
        if (!map.load_or_store(i % 5, i).second) stored.fetch_add(1);
        if (map.erase((i + 1) % 5)) stored.fetch_sub(1);
      }
    });
  }
  group.wait();
  EXPECT_EQ(map.size(), static_cast<std::size_t>(stored.load()));
}

TEST(SyncMapTest, ACopyThatThrowsLeavesTheMapAsItWas) {
  struct Throwing {
    int n = 0;
    bool* armed = nullptr;
    Throwing(int value, bool* arm) : n(value), armed(arm) {}
    Throwing(const Throwing& other) : n(other.n), armed(other.armed) {
      if (*armed) throw std::runtime_error("copy");
    }
    Throwing& operator=(const Throwing&) = default;
    bool operator==(const Throwing& other) const { return n == other.n; }
  };
  bool armed = false;
  SyncMap<int, Throwing> map;
  map.store(1, Throwing(1, &armed));
  const Throwing two(2, &armed);
  armed = true;
  EXPECT_THROW(static_cast<void>(map.load(1)), std::runtime_error);
  EXPECT_THROW(map.store(1, two), std::runtime_error);
  EXPECT_THROW(map.compare_and_swap(1, two, two), std::runtime_error);
  armed = false;
  EXPECT_EQ(map.load(1)->n, 1);
  EXPECT_EQ(map.size(), 1U);
}

}  // namespace
