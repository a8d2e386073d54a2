// Chan, SendChan, RecvChan: shape, sending and receiving, the non-blocking and the timed forms. Closing is in
// chan_close_test, races in chan_race_test, what happens to the values themselves in chan_values_test.

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::ChanStatus;
using weft::make_chan;
using weft::Received;
using weft::RecvChan;
using weft::SendChan;
using weft::Unit;
using weft::WaitGroup;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::kEverywhere;
using weft::test::On;
using weft::test::run_on;
using weft::test::Task;

// CH-7, at compile time: what each view can and cannot do.

template <class C, class T = int>
concept CanSend = requires(const C& c, T value) { c.send(std::move(value)); };
template <class C, class T = int>
concept CanTrySend = requires(const C& c, T value) { c.try_send(std::move(value)); };
template <class C, class T = int>
concept CanSendFor = requires(const C& c, T value) { c.send_for(std::move(value), 1ms); };
template <class C>
concept CanRecv = requires(const C& c) { c.recv(); };
template <class C>
concept CanTryRecv = requires(const C& c) { c.try_recv(); };
template <class C>
concept CanRecvFor = requires(const C& c) { c.recv_for(1ms); };
template <class C>
concept CanClose = requires(const C& c) { c.close(); };
template <class C>
concept CanRange = requires(const C& c) {
  c.begin();
  c.end();
};
template <class C>
concept CanMeasure = requires(const C& c) {
  { c.size() } -> std::same_as<std::size_t>;
  { c.capacity() } -> std::same_as<std::size_t>;
};
template <class C>
concept CanBeNil = requires(C& c) {
  { c == nullptr } -> std::convertible_to<bool>;
  { c == c } -> std::convertible_to<bool>;
  c = nullptr;
};
template <class C>
concept CanSelectRecv = requires(const C& c) { c.on_recv([] {}); };
template <class C>
concept CanSelectSend = requires(const C& c) { c.on_send(1, [] {}); };

static_assert(CanSend<Chan<int>> && CanTrySend<Chan<int>> && CanSendFor<Chan<int>> && CanClose<Chan<int>>);
static_assert(CanRecv<Chan<int>> && CanTryRecv<Chan<int>> && CanRecvFor<Chan<int>> && CanRange<Chan<int>>);
static_assert(CanSelectRecv<Chan<int>> && CanSelectSend<Chan<int>>);

static_assert(CanSend<SendChan<int>> && CanTrySend<SendChan<int>> && CanSendFor<SendChan<int>>);
static_assert(CanClose<SendChan<int>>);
static_assert(!CanRecv<SendChan<int>> && !CanTryRecv<SendChan<int>> && !CanRecvFor<SendChan<int>>);
static_assert(!CanRange<SendChan<int>>);
static_assert(CanSelectSend<SendChan<int>> && !CanSelectRecv<SendChan<int>>);

static_assert(CanRecv<RecvChan<int>> && CanTryRecv<RecvChan<int>> && CanRecvFor<RecvChan<int>>);
static_assert(CanRange<RecvChan<int>>);
static_assert(!CanSend<RecvChan<int>> && !CanTrySend<RecvChan<int>> && !CanSendFor<RecvChan<int>>);
static_assert(!CanClose<RecvChan<int>>);
static_assert(CanSelectRecv<RecvChan<int>> && !CanSelectSend<RecvChan<int>>);

static_assert(CanMeasure<Chan<int>> && CanMeasure<SendChan<int>> && CanMeasure<RecvChan<int>>);
static_assert(CanBeNil<Chan<int>> && CanBeNil<SendChan<int>> && CanBeNil<RecvChan<int>>);

static_assert(std::convertible_to<Chan<int>, SendChan<int>> && std::convertible_to<Chan<int>, RecvChan<int>>);
static_assert(std::convertible_to<const Chan<int>&, RecvChan<int>>);
static_assert(!std::constructible_from<Chan<int>, SendChan<int>> && !std::constructible_from<Chan<int>, RecvChan<int>>);
static_assert(!std::assignable_from<Chan<int>&, SendChan<int>> && !std::assignable_from<Chan<int>&, RecvChan<int>>);
static_assert(!std::constructible_from<SendChan<int>, RecvChan<int>>);
static_assert(!std::constructible_from<RecvChan<int>, SendChan<int>>);
static_assert(!std::assignable_from<SendChan<int>&, RecvChan<int>> &&
              !std::assignable_from<RecvChan<int>&, SendChan<int>>);
static_assert(!std::convertible_to<Chan<int>, Chan<long>> && !std::convertible_to<Chan<int>, RecvChan<long>>);
static_assert(!std::convertible_to<Chan<int>, SendChan<long>>);
static_assert(std::default_initializable<Chan<int>> && std::copyable<Chan<int>>);
static_assert(std::default_initializable<SendChan<int>> && std::copyable<SendChan<int>>);
static_assert(std::default_initializable<RecvChan<int>> && std::copyable<RecvChan<int>>);

// A move-only element can be sent only by giving it away.
using Owner = std::unique_ptr<int>;
template <class C, class T>
concept CanSendCopy = requires(const C& c, const T& value) { c.send(value); };
static_assert(CanSend<Chan<Owner>, Owner> && CanTrySend<Chan<Owner>, Owner> && CanSendFor<Chan<Owner>, Owner>);
static_assert(!CanSendCopy<Chan<Owner>, Owner>);

// Rules: CH-1
TEST(ChanTest, CopiesReferToOneChannel) {
  everywhere([] {
    const Chan<int> first = make_chan<int>(2);
    const Chan<int> second = first;  // NOLINT: the copy is the point
    Chan<int> third;
    third = second;
    first.send(1);
    third.send(2);
    EXPECT_EQ(second.size(), 2U);
    EXPECT_EQ(*second.recv(), 1);
    EXPECT_EQ(*first.recv(), 2);
    second.close();
    EXPECT_EQ(third.recv().status(), ChanStatus::closed);
  });
}

// Rules: CH-1, CH-4, CH-6
TEST(ChanTest, DefaultIsNilAndNilHasNoSize) {
  everywhere([] {
    const Chan<int> none;
    const SendChan<int> no_send;
    const RecvChan<int> no_recv = nullptr;
    EXPECT_TRUE(none == nullptr);
    EXPECT_TRUE(no_send == nullptr);
    EXPECT_TRUE(no_recv == nullptr);
    EXPECT_EQ(none.size(), 0U);
    EXPECT_EQ(none.capacity(), 0U);
    EXPECT_EQ(no_send.capacity(), 0U);
    EXPECT_EQ(no_recv.size(), 0U);
    EXPECT_TRUE(none == Chan<int>(nullptr));
    Chan<int> some = make_chan<int>(1);
    EXPECT_FALSE(some == nullptr);
    EXPECT_TRUE(some != nullptr);
    EXPECT_TRUE(some != none);
    some = nullptr;
    EXPECT_TRUE(some == none);
  });
}

// Rules: CH-4, CH-16, CH-20
TEST(ChanTest, NilIsNeverReadyInNonBlockingForms) {
  everywhere([] {
    const Chan<Owner> none;
    Owner value = std::make_unique<int>(7);
    EXPECT_EQ(none.try_send(std::move(value)), ChanStatus::would_block);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(none.send_for(std::move(value), 1ms), ChanStatus::timed_out);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, 7);
    EXPECT_EQ(none.try_recv().status(), ChanStatus::would_block);
    EXPECT_EQ(none.recv_for(1ms).status(), ChanStatus::timed_out);
    EXPECT_FALSE(none.try_recv());
  });
}

// Rules: CH-4, CH-9, CH-23, GEN-4, LEAK-1
TEST(ChanTest, NilParksForEverAndOthersRun) {
  std::atomic<int> evaluated{0};
  std::atomic<int> passed{0};
  std::vector<std::string> reasons;
  {
    weft::Runtime runtime;
    runtime.run([&] {
      go_parked([&passed] {
        Chan<int>().recv();
        ++passed;
      });
      go_parked([&] {
        Chan<int>().send([&] { return ++evaluated; }());
        ++passed;
      });
      go_parked([&passed] {
        for (const int value : RecvChan<int>()) passed += value + 1;
        ++passed;
      });
      go_parked([&passed] {
        SendChan<int>().send(1);
        ++passed;
      });
      // The others are stuck; this one is not.
      const Chan<int> echo = make_chan<int>();
      weft::go([&echo] { echo.send(3); });  // with a handle of its own, it would leak that if it is abandoned
      EXPECT_EQ(*echo.recv(), 3);
    });
    for (const weft::GoroutineInfo& straggler : runtime.shutdown(0s).stragglers)
      reasons.push_back(straggler.wait_reason);
  }
  EXPECT_EQ(evaluated, 1);
  EXPECT_EQ(passed, 0);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "chan receive (nil chan)"), 2);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "chan send (nil chan)"), 2);
}

// Rules: GEN-4
TEST(ChanTest, ParkedOperationsNameTheirReason) {
  const Chan<int> empty = make_chan<int>();
  const Chan<int> full = make_chan<int>(1);
  full.send(0);
  weft::Runtime runtime;
  runtime.run([&] {
    go_parked([&empty] { empty.recv(); });
    go_parked([&full] { full.send(1); });
  });
  std::vector<std::string> reasons;
  for (const weft::GoroutineInfo& straggler : runtime.shutdown(0s).stragglers) reasons.push_back(straggler.wait_reason);
  std::sort(reasons.begin(), reasons.end());
  EXPECT_EQ(reasons, (std::vector<std::string>{"chan receive", "chan send"}));
  // The abandoned waiters are unlinked: nothing is handed to them.
  EXPECT_EQ(empty.try_send(1), ChanStatus::would_block);
  EXPECT_EQ(*full.recv(), 0);
  EXPECT_EQ(full.try_recv().status(), ChanStatus::would_block);
}

// Rules: CH-2, CH-5, CH-11
TEST(ChanTest, CapacityIsExact) {
  everywhere([] {
    for (std::size_t capacity = 0; capacity <= 200; ++capacity) {
      const Chan<std::size_t> ch = make_chan<std::size_t>(capacity);
      EXPECT_EQ(ch.capacity(), capacity);
      EXPECT_EQ(ch.size(), 0U);
      EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
      for (std::size_t i = 0; i < capacity; ++i) {
        EXPECT_EQ(ch.try_send(i), ChanStatus::ok);
        EXPECT_EQ(ch.size(), i + 1);
      }
      EXPECT_EQ(ch.try_send(capacity), ChanStatus::would_block);
      EXPECT_EQ(ch.capacity(), capacity);
      for (std::size_t i = 0; i < capacity; ++i) {
        const Received<std::size_t> got = ch.try_recv();
        ASSERT_TRUE(got);
        EXPECT_EQ(*got, i);
      }
      EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
    }
  });
}

template <class T>
std::string make_chan_panic(std::size_t capacity) {
  try {
    const Chan<T> made = make_chan<T>(capacity);
  } catch (const weft::RuntimePanic& panic) {
    return panic.what();
  }
  return "no panic";
}

// Rules: CH-2, CH-3, GEN-1, GEN-2
TEST(ChanTest, AbsurdCapacityPanicsBeforeAllocating) {
  everywhere([] {
    constexpr std::size_t kMax = std::numeric_limits<std::size_t>::max();
    constexpr const char* kText = "makechan: size out of range";
    EXPECT_EQ(make_chan_panic<int>(kMax), kText);      // -1
    EXPECT_EQ(make_chan_panic<int>(kMax / 2), kText);  // 2^63 - 1
    EXPECT_EQ(make_chan_panic<int>(std::size_t{1} << 59U), kText);
    EXPECT_EQ(make_chan_panic<int>(std::size_t{1} << 62U), kText);        // the byte count wraps to 0
    EXPECT_EQ(make_chan_panic<int>((std::size_t{1} << 62U) + 1), kText);  // ... to 4
    EXPECT_EQ(make_chan_panic<char>(kMax / 2), kText);
    EXPECT_EQ(make_chan_panic<std::string>(kMax / sizeof(std::string) + 1), kText);
    EXPECT_EQ(make_chan_panic<Unit>(kMax), kText);  // -1 is refused for the empty type, too
  });
}

struct AlsoEmpty {
  bool operator==(const AlsoEmpty&) const = default;
};

template <class Empty>
void check_empty_elements() {
  EXPECT_EQ(make_chan<Empty>().capacity(), 0U);
  EXPECT_EQ(make_chan<Empty>(1).capacity(), 1U);
  for (const unsigned bits : {40U, 62U}) {
    const Chan<Empty> huge = make_chan<Empty>(std::size_t{1} << bits);
    EXPECT_EQ(huge.capacity(), std::size_t{1} << bits);
    for (std::size_t i = 0; i < 1000; ++i) huge.send({});
    EXPECT_EQ(huge.size(), 1000U);
    for (std::size_t i = 0; i < 1000; ++i) EXPECT_TRUE(huge.try_recv());
    EXPECT_FALSE(huge.try_recv());
  }
  const Chan<Empty> ch = make_chan<Empty>(2);
  EXPECT_EQ(ch.size(), 0U);
  ch.send({});
  EXPECT_EQ(ch.size(), 1U);
  ch.send({});
  EXPECT_EQ(ch.size(), 2U);
  EXPECT_EQ(ch.try_send({}), ChanStatus::would_block);
  std::atomic<bool> sent{false};
  WaitGroup wg;
  go_parked(wg, [&] {
    ch.send({});
    sent = true;
  });
  EXPECT_FALSE(sent);
  EXPECT_TRUE(ch.recv());
  wg.wait();
  EXPECT_TRUE(sent);
  ch.close();
  int count = 1;
  while (ch.recv()) ++count;
  EXPECT_EQ(count, 3);
}

// Rules: CH-3, CH-11
TEST(ChanTest, EmptyElementsCountWithoutStorage) {
  everywhere([] {
    check_empty_elements<Unit>();
    check_empty_elements<AlsoEmpty>();
  });
}

// Rules: CH-5
TEST(ChanTest, SizeCountsTheBufferOnly) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(5);
    const RecvChan<int> out = ch;
    for (int i = 0; i < 3; ++i) ch.send(i);
    EXPECT_EQ(ch.size(), 3U);
    EXPECT_EQ(out.size(), 3U);
    EXPECT_EQ(out.capacity(), 5U);
    ch.send(3);
    ch.send(4);
    WaitGroup wg;
    go_parked(wg, [&] { ch.send(5); });
    go_parked(wg, [&] { ch.send(6); });
    EXPECT_EQ(ch.size(), 5U);
    for (int i = 0; i < 7; ++i) EXPECT_EQ(*ch.recv(), i);
    wg.wait();
    EXPECT_EQ(ch.size(), 0U);

    for (int i = 0; i < 3; ++i) ch.send(i);
    ch.close();
    EXPECT_EQ(ch.size(), 3U);
    EXPECT_EQ(ch.capacity(), 5U);
    for (std::size_t left = 3; left > 0; --left) {
      EXPECT_EQ(ch.size(), left);
      EXPECT_TRUE(ch.recv());
    }
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_FALSE(ch.recv());
    EXPECT_EQ(ch.size(), 0U);
  });
}

// Rules: CH-5, CH-10
TEST(ChanTest, UnbufferedHasNoSizeEvenWithSendersParked) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    WaitGroup wg;
    for (int i = 0; i < 3; ++i) go_parked(wg, [&ch, i] { ch.send(i); });
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_EQ(ch.capacity(), 0U);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(*ch.recv(), i);
    wg.wait();
  });
}

// Rules: CH-6
TEST(ChanTest, IdentityIsTheChannelNotTheHandle) {
  const Chan<int> a = make_chan<int>();
  const Chan<int> b = make_chan<int>();
  const Chan<int> copy = a;  // NOLINT: the copy is the point
  const SendChan<int> in = a;
  const RecvChan<int> out = a;
  EXPECT_TRUE(a == copy);
  EXPECT_FALSE(a == b);
  EXPECT_TRUE(a != b);
  EXPECT_TRUE(a == out);
  EXPECT_TRUE(out == a);
  EXPECT_TRUE(a == in);
  EXPECT_TRUE(in == a);
  EXPECT_FALSE(b == out);
  EXPECT_TRUE(RecvChan<int>(b) != out);
  EXPECT_TRUE(SendChan<int>(a) == in);

  const std::hash<Chan<int>> hash;
  EXPECT_EQ(hash(a), hash(copy));
  EXPECT_EQ(hash(a), std::hash<RecvChan<int>>()(out));
  EXPECT_EQ(hash(a), std::hash<SendChan<int>>()(in));

  std::unordered_map<Chan<int>, int> names{{a, 1}, {b, 2}, {Chan<int>(), 3}};
  EXPECT_EQ(names.size(), 3U);
  EXPECT_EQ(names.at(copy), 1);
  EXPECT_EQ(names.at(nullptr), 3);
  std::unordered_set<RecvChan<int>> set;
  set.insert(a);
  set.insert(copy);
  set.insert(b);
  EXPECT_EQ(set.size(), 2U);
}

// Rules: CH-7
TEST(ChanTest, ViewsDoTheirHalf) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(3);
    const auto produce = [](SendChan<int> out) {
      for (int i = 0; i < 3; ++i) out.send(i);
      out.close();
    };
    const auto consume = [](RecvChan<int> in) {
      int sum = 0;
      for (const int value : in) sum += value;
      return sum;
    };
    produce(ch);
    EXPECT_EQ(consume(ch), 3);
  });
}

// Rules: CH-8
TEST(ChanTest, ChannelsTravelThroughChannels) {
  everywhere([] {
    const Chan<Chan<int>> outer = make_chan<Chan<int>>(1);
    const Chan<int> inner = make_chan<int>(1);
    outer.send(inner);
    const Received<Chan<int>> got = outer.recv();
    ASSERT_TRUE(got);
    EXPECT_TRUE(*got == inner);
    got->send(2);
    EXPECT_EQ(*inner.recv(), 2);

    // Three deep.
    const Chan<Chan<Chan<int>>> deep = make_chan<Chan<Chan<int>>>(1);
    deep.send(outer);
    outer.send(inner);
    inner.send(9);
    EXPECT_EQ(*(*(*deep.recv()).recv()).recv(), 9);

    // Of a direction.
    const Chan<SendChan<int>> replies = make_chan<SendChan<int>>(1);
    replies.send(inner);
    (*replies.recv()).send(4);
    EXPECT_EQ(*inner.recv(), 4);
  });
}

// Rules: CH-8
TEST(ChanTest, ClosuresErrorsAndMoveOnlyValuesTravel) {
  everywhere([] {
    const auto closures = make_chan<std::function<int(int)>>(1);
    int offset = 40;
    closures.send([offset](int x) { return x + offset; });
    EXPECT_EQ((*closures.recv())(2), 42);

    const auto errors = make_chan<std::exception_ptr>(1);
    errors.send(std::make_exception_ptr(std::runtime_error("travelled")));
    try {
      std::rethrow_exception(*errors.recv());
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "travelled");
    }

    const auto owners = make_chan<Owner>();
    WaitGroup wg;
    wg.go([&owners] { owners.send(std::make_unique<int>(5)); });
    Owner owner = *owners.recv();
    ASSERT_NE(owner, nullptr);
    EXPECT_EQ(*owner, 5);
    wg.wait();
  });
}

// Rules: CH-8
TEST(ChanTest, ReplyChannelRequests) {
  weft::run([] {
    struct Request {
      int n;
      Chan<int> reply;
    };
    constexpr int kClients = 100;
    const Chan<Request> requests = make_chan<Request>();
    WaitGroup wg;
    weft::go([requests] {
      for (const Request& request : requests) request.reply.send(request.n * request.n);
    });
    std::atomic<int> right{0};
    for (int n = 0; n < kClients; ++n) {
      wg.go([&, n] {
        const Chan<int> reply = make_chan<int>();
        requests.send(Request{n, reply});
        if (*reply.recv() == n * n) ++right;
      });
    }
    wg.wait();
    requests.close();
    EXPECT_EQ(right, kClients);
  });
}

// Rules: CH-8
TEST(ChanTest, ElementsOverSixtyFourKibibytes) {
  struct Huge {
    std::array<std::uint32_t, 17'000> words{};
  };
  const Chan<Huge> ch = make_chan<Huge>(1);  // on the thread's own large stack
  auto value = std::make_unique<Huge>();
  for (std::uint32_t i = 0; i < value->words.size(); ++i) value->words[i] = i * 2654435761U;
  EXPECT_EQ(ch.try_send(*value), ChanStatus::ok);
  EXPECT_EQ(ch.try_send(*value), ChanStatus::would_block);
  const Received<Huge> got = ch.recv();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->words, value->words);
}

// Rules: CH-9, CH-4
TEST(ChanTest, OperandsAreEvaluatedOnceInOrderBeforeBlocking) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    std::atomic<int> step{0};
    int channel_step = 0;
    int value_step = 0;
    WaitGroup wg;
    go_parked(wg, [&] {
      const auto channel = [&] {
        channel_step = ++step;
        return ch;
      };
      const auto value = [&] { return value_step = ++step; };
      channel().send(value());
    });
    EXPECT_EQ(step, 2);  // it waits, and both have been evaluated
    EXPECT_EQ(*ch.recv(), 2);
    wg.wait();
    EXPECT_EQ(channel_step, 1);
    EXPECT_EQ(value_step, 2);
    EXPECT_EQ(step, 2);

    ch.close();
    EXPECT_THROW(ch.send(++step), weft::RuntimePanic);  // evaluated even though it panics
    EXPECT_EQ(step, 3);
  });
}

// Rules: CH-10, MM-4
TEST(ChanTest, UnbufferedSendWaitsForItsReceiver) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    std::atomic<bool> sent{false};
    WaitGroup wg;
    go_parked(wg, [&] {
      ch.send(1);
      sent = true;
    });
    EXPECT_FALSE(sent);
    EXPECT_EQ(*ch.recv(), 1);
    wg.wait();
    EXPECT_TRUE(sent);

    std::atomic<int> got{0};
    go_parked(wg, [&] { got = *ch.recv(); });
    EXPECT_EQ(got, 0);
    ch.send(2);
    wg.wait();
    EXPECT_EQ(got, 2);
  });
}

// Rules: CH-11, CH-16
TEST(ChanTest, BufferedSendWaitsExactlyWhenFull) {
  weft::run([] {
    for (std::size_t capacity = 0; capacity < 20; ++capacity) {
      const Chan<std::size_t> ch = make_chan<std::size_t>(capacity);
      WaitGroup wg;

      std::atomic<bool> received{false};
      go_parked(wg, [&] {
        EXPECT_EQ(*ch.recv(), 1000U);
        received = true;
      });
      EXPECT_FALSE(received);
      EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
      ch.send(1000);
      wg.wait();
      EXPECT_TRUE(received);

      for (std::size_t i = 0; i < capacity; ++i) ch.send(i);
      std::atomic<bool> sent{false};
      go_parked(wg, [&] {
        ch.send(capacity);
        sent = true;
      });
      EXPECT_FALSE(sent);
      EXPECT_EQ(ch.try_send(99), ChanStatus::would_block);
      EXPECT_EQ(*ch.recv(), 0U);  // the head of the buffer, or the sender's own value without one
      wg.wait();
      EXPECT_TRUE(sent);
      EXPECT_EQ(ch.size(), capacity);
      for (std::size_t i = 1; i <= capacity; ++i) EXPECT_EQ(*ch.recv(), i);
    }
  });
}

// Rules: CH-12, CH-14
TEST(ChanTest, OneProducerOneConsumerKeepTheOrder) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      for (const On peer : kEverywhere) {
        for (std::size_t capacity = 0; capacity < 12; ++capacity) {
          const Chan<int> ch = make_chan<int>(capacity);
          constexpr int kCount = 100;
          Task producer(peer, [&] {
            for (int i = 0; i < kCount; ++i) ch.send(i);
            for (int i = 0; i < kCount; ++i) ch.send(i);
            ch.close();
          });
          for (int i = 0; i < kCount; ++i) EXPECT_EQ(ch.recv().value_or(-1), i);
          for (int i = 0; i < kCount; ++i) {
            if (const Received<int> got = ch.recv()) {
              EXPECT_EQ(*got, i);
            } else {
              ADD_FAILURE() << "closed at " << i;
            }
          }
          EXPECT_EQ(ch.recv().status(), ChanStatus::closed);
        }
      }
    });
  }
}

// Rules: CH-12, CH-13
TEST(ChanTest, ParkedSendersFollowTheFullBuffer) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(3);
    for (int i = 0; i < 3; ++i) ch.send(i);
    WaitGroup wg;
    go_parked(wg, [&] { ch.send(3); });
    go_parked(wg, [&] { ch.send(4); });
    EXPECT_EQ(*ch.recv(), 0);
    EXPECT_EQ(ch.size(), 3U);  // the parked sender's value took the place, in the same step
    EXPECT_EQ(ch.try_send(9), ChanStatus::would_block);
    for (int i = 1; i < 5; ++i) EXPECT_EQ(*ch.recv(), i);
    wg.wait();
  });
}

// Rules: CH-13
TEST(ChanTest, ParkedReceiversAreServedInOrder) {
  everywhere([] {
    for (const std::size_t capacity : {0U, 1U, 8U}) {
      constexpr std::size_t kWaiters = 10;
      const Chan<int> ch = make_chan<int>(capacity);
      std::array<int, kWaiters> got{};
      WaitGroup wg;
      for (std::size_t i = 0; i < kWaiters; ++i) go_parked(wg, [&ch, &got, i] { got[i] = *ch.recv(); });
      for (std::size_t i = 0; i < kWaiters; ++i) ch.send(static_cast<int>(i) + 1);
      wg.wait();
      for (std::size_t i = 0; i < kWaiters; ++i) EXPECT_EQ(got[i], static_cast<int>(i) + 1);
    }
  });
}

// Rules: CH-13
TEST(ChanTest, ParkedSendersAreServedInOrder) {
  everywhere([] {
    for (const std::size_t capacity : {0U, 1U, 8U}) {
      constexpr int kWaiters = 10;
      const Chan<int> ch = make_chan<int>(capacity);
      for (std::size_t i = 0; i < capacity; ++i) ch.send(-1);
      WaitGroup wg;
      for (int i = 0; i < kWaiters; ++i) go_parked(wg, [&ch, i] { ch.send(i); });
      for (std::size_t i = 0; i < capacity; ++i) EXPECT_EQ(*ch.recv(), -1);
      for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(*ch.recv(), i);
      wg.wait();
    }
  });
}

// Rules: CH-13
TEST(ChanTest, HandedOverValueBelongsToTheWaiter) {
  everywhere([] {
    for (const std::size_t capacity : {0U, 1U}) {
      for (int round = 0; round < weft::test::rounds(500); ++round) {
        const Chan<int> ch = make_chan<int>(capacity);
        WaitGroup wg;
        go_parked(wg, [&] { EXPECT_EQ(ch.recv().value_or(-1), 7); });
        ch.send(7);
        EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);  // whether or not the waiter has run yet
        EXPECT_EQ(ch.size(), 0U);
        wg.wait();
      }
    }
  });
}

// Rules: CH-13
TEST(ChanTest, TakenValueFreesTheLongestWaitingSenderFirst) {
  everywhere([] {
    for (int round = 0; round < weft::test::rounds(500); ++round) {
      const Chan<int> ch = make_chan<int>(1);
      ch.send(0);
      WaitGroup wg;
      go_parked(wg, [&] { ch.send(1); });
      EXPECT_EQ(*ch.recv(), 0);
      // The place is the waiter's already: this one cannot barge in.
      EXPECT_EQ(ch.try_send(2), ChanStatus::would_block);
      EXPECT_EQ(*ch.recv(), 1);
      wg.wait();
      EXPECT_EQ(ch.size(), 0U);
    }
  });
}

// Rules: CH-13
TEST(ChanTest, WaiterThatTimesOutLeavesTheOthersInOrder) {
  weft::run([] {
    const Chan<int> ch = make_chan<int>();
    std::array<int, 5> got{};
    std::atomic<bool> gave_up{false};
    WaitGroup wg;
    WaitGroup impatient;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (i == 2) {
        go_parked(impatient, [&] {
          EXPECT_EQ(ch.recv_for(1ms).status(), ChanStatus::timed_out);
          gave_up = true;
        });
      }
      go_parked(wg, [&ch, &got, i] { got[i] = *ch.recv(); });
    }
    impatient.wait();
    EXPECT_TRUE(gave_up);
    for (std::size_t i = 0; i < got.size(); ++i) ch.send(static_cast<int>(i) + 1);
    wg.wait();
    EXPECT_EQ(got, (std::array<int, 5>{1, 2, 3, 4, 5}));

    // The same for senders.
    WaitGroup senders;
    go_parked(senders, [&] { ch.send(1); });
    go_parked(impatient, [&] { EXPECT_EQ(ch.send_for(99, 1ms), ChanStatus::timed_out); });
    go_parked(senders, [&] { ch.send(2); });
    impatient.wait();
    EXPECT_EQ(*ch.recv(), 1);
    EXPECT_EQ(*ch.recv(), 2);
    senders.wait();
    EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: CH-13, SEL-10
TEST(ChanTest, WaiterClaimedThroughAnotherCaseIsSkipped) {
  everywhere([] {
    const Chan<int> shared = make_chan<int>();
    const Chan<int> other = make_chan<int>();
    std::array<int, 2> got{};
    WaitGroup first;
    WaitGroup selected;
    go_parked(first, [&] { got[0] = *shared.recv(); });
    go_parked(selected, [&] { EXPECT_EQ(weft::select(shared.on_recv([] {}), other.on_recv([] {})), 1U); });
    WaitGroup last;
    go_parked(last, [&] { got[1] = *shared.recv(); });
    other.send(0);
    shared.send(1);
    shared.send(2);
    first.wait();
    selected.wait();
    last.wait();
    EXPECT_EQ(got, (std::array<int, 2>{1, 2}));
  });
}

// Rules: CH-14
TEST(ChanTest, ZeroIsAValueLikeAnyOther) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    ch.send(0);
    ch.close();
    const Received<int> first = ch.recv();
    EXPECT_TRUE(first);
    EXPECT_EQ(first.status(), ChanStatus::ok);
    EXPECT_EQ(*first, 0);
    const Received<int> second = ch.recv();
    EXPECT_FALSE(second);
    EXPECT_EQ(second.status(), ChanStatus::closed);
    EXPECT_EQ(second.value_or(-7), -7);
  });
}

// Rules: CH-16
TEST(ChanTest, NonBlockingFormsDoAllOrNothing) {
  everywhere([] {
    const Chan<Owner> unbuffered = make_chan<Owner>();
    Owner value = std::make_unique<int>(1);
    EXPECT_EQ(unbuffered.try_send(std::move(value)), ChanStatus::would_block);
    EXPECT_NE(value, nullptr);
    EXPECT_EQ(unbuffered.try_recv().status(), ChanStatus::would_block);

    const Chan<Owner> ch = make_chan<Owner>(1);
    EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::ok);
    EXPECT_EQ(value, nullptr);
    value = std::make_unique<int>(2);
    EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::would_block);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, 2);
    EXPECT_EQ(**ch.try_recv(), 1);
    EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
    ch.close();
    EXPECT_EQ(ch.try_recv().status(), ChanStatus::closed);

    // With a partner parked, they go.
    WaitGroup wg;
    go_parked(wg, [&] { EXPECT_EQ(**unbuffered.recv(), 2); });
    EXPECT_EQ(unbuffered.try_send(std::move(value)), ChanStatus::ok);
    EXPECT_EQ(value, nullptr);
    wg.wait();
    go_parked(wg, [&] { unbuffered.send(std::make_unique<int>(3)); });
    const Received<Owner> got = unbuffered.try_recv();
    ASSERT_TRUE(got);
    EXPECT_EQ(**got, 3);
    wg.wait();
  });
}

// Rules: CH-16
TEST(ChanTest, TrySendCopiesAnLvalue) {
  everywhere([] {
    const Chan<std::string> ch = make_chan<std::string>(2);
    const std::string constant = "constant and long enough not to be short";
    std::string variable = "variable and long enough not to be short";
    EXPECT_EQ(ch.try_send(constant), ChanStatus::ok);
    EXPECT_EQ(ch.try_send(variable), ChanStatus::ok);
    EXPECT_EQ(ch.try_send(variable), ChanStatus::would_block);
    EXPECT_EQ(ch.send_for(variable, 1ms), ChanStatus::timed_out);
    EXPECT_EQ(variable, "variable and long enough not to be short");
    EXPECT_EQ(*ch.recv(), constant);
    EXPECT_EQ(*ch.recv(), variable);
    ch.send(variable);
    EXPECT_EQ(*ch.recv(), variable);
  });
}

// Rules: CH-14, CH-16
TEST(ChanTest, ReceivedIsAnOptionalThatKnowsWhy) {
  const Received<int> nothing;
  EXPECT_FALSE(nothing);
  EXPECT_EQ(nothing.status(), ChanStatus::would_block);
  EXPECT_EQ(nothing.value_or(3), 3);

  const Chan<std::string> ch = make_chan<std::string>(4);
  ch.send("one");
  ch.send("two");
  ch.send("three");
  ch.send("four");
  Received<std::string> got = ch.recv();
  EXPECT_TRUE(got);
  EXPECT_EQ(got.status(), ChanStatus::ok);
  EXPECT_EQ(got->size(), 3U);
  *got += "!";
  EXPECT_EQ(*got, "one!");
  Received<std::string> other = std::move(got);
  EXPECT_EQ(*other, "one!");
  got = ch.recv();
  EXPECT_EQ(*got, "two");
  const std::string moved = *ch.recv();
  EXPECT_EQ(moved, "three");
  EXPECT_EQ(ch.recv().value_or("none"), "four");
  EXPECT_EQ(ch.try_recv().value_or("none"), "none");

  const Chan<Owner> owners = make_chan<Owner>(2);
  owners.send(std::make_unique<int>(1));
  owners.send(std::make_unique<int>(2));
  const Owner owner = *owners.recv();  // out of an rvalue
  EXPECT_EQ(*owner, 1);
  Received<Owner> held = owners.recv();
  const Owner second = std::move(*held);
  EXPECT_EQ(*second, 2);
}

// Rules: CH-16, TM-2
TEST(ChanTest, TimedFormsTimeOutNeverEarly) {
  everywhere([] {
    const Chan<Owner> ch = make_chan<Owner>();
    Owner value = std::make_unique<int>(1);
    for (const std::chrono::milliseconds wait : {1ms, 5ms, 20ms}) {
      auto start = std::chrono::steady_clock::now();
      EXPECT_EQ(ch.recv_for(wait).status(), ChanStatus::timed_out);
      EXPECT_GE(std::chrono::steady_clock::now() - start, wait);
      start = std::chrono::steady_clock::now();
      EXPECT_EQ(ch.send_for(std::move(value), wait), ChanStatus::timed_out);
      EXPECT_GE(std::chrono::steady_clock::now() - start, wait);
      ASSERT_NE(value, nullptr);
    }
    EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);  // no trace of the sender is left
    EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::would_block);
  });
}

// Rules: CH-16
TEST(ChanTest, TimedFormsWithNoTimeLeftTryOnce) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    for (const std::chrono::nanoseconds wait : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      EXPECT_EQ(ch.recv_for(wait).status(), ChanStatus::timed_out);
      EXPECT_EQ(ch.send_for(1, wait), ChanStatus::ok);
      EXPECT_EQ(ch.send_for(2, wait), ChanStatus::timed_out);
      EXPECT_EQ(ch.recv_for(wait).value_or(0), 1);
    }
  });
}

// Rules: CH-16, TM-1, HZ-12
TEST(ChanTest, TimedFormsSaturateInsteadOfWrapping) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    WaitGroup wg;
    go_parked(wg, [&] { EXPECT_EQ(ch.recv_for(std::chrono::nanoseconds::max()).value_or(-1), 1); });
    ch.send(1);
    wg.wait();
    go_parked(wg, [&] { EXPECT_EQ(ch.send_for(2, std::chrono::hours::max()), ChanStatus::ok); });
    EXPECT_EQ(ch.recv_for(std::chrono::hours(24 * 365 * 1000)).value_or(-1), 2);
    wg.wait();
  });
}

// Rules: CH-16
TEST(ChanTest, TimedFormsTakeWhatArrivesInTime) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      for (const On peer : kEverywhere) {
        const Chan<int> ch = make_chan<int>();
        Task partner(peer, [&] {
          for (int i = 0; i < 50; ++i) EXPECT_EQ(ch.send_for(i, 1h), ChanStatus::ok);
          ch.close();
        });
        for (int i = 0; i < 50; ++i) EXPECT_EQ(ch.recv_for(1h).value_or(-1), i);
        EXPECT_EQ(ch.recv_for(1h).status(), ChanStatus::closed);
      }
    });
  }
}

// Rules: CH-17
TEST(ChanTest, FailedReceiveLeavesTheTargetAlone) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    ch.send(5);
    Received<int> target = ch.recv();
    EXPECT_EQ(weft::select(ch.on_recv(target), weft::on_default([] {})), 1U);
    ASSERT_TRUE(target);
    EXPECT_EQ(*target, 5);
    EXPECT_EQ(weft::select(ch.on_recv(target), weft::on_timeout(1ms, [] {})), 1U);
    EXPECT_EQ(target.value_or(0), 5);
  });
}

// Rules: CH-10, CH-11, CH-24
TEST(ChanTest, GoroutinesAndThreadsMix) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      for (const std::size_t capacity : {0U, 1U, 7U}) {
        constexpr int kEach = 200;
        const Chan<int> ch = make_chan<int>(capacity);
        const Chan<int> results = make_chan<int>(capacity);
        const auto produce = [&] {
          for (int i = 1; i <= kEach; ++i) ch.send(i);
        };
        const auto consume = [&] {
          int sum = 0;
          for (const int value : ch) sum += value;
          results.send(sum);
        };
        Task consumer_1(On::kGoroutine, consume);
        Task consumer_2(On::kThread, consume);
        Task consumer_3(On::kThread, consume);
        {
          Task producer_1(On::kGoroutine, produce);
          Task producer_2(On::kThread, produce);
          Task producer_3(On::kGoroutine, produce);
          produce();
        }
        ch.close();
        int total = 0;
        for (int i = 0; i < 3; ++i) total += *results.recv();
        EXPECT_EQ(total, 4 * kEach * (kEach + 1) / 2);
      }
    });
  }
}

// Rules: CH-10, CH-24
TEST(ChanTest, ThreadsAloneCanUseAChannel) {
  const Chan<int> ping = make_chan<int>();
  const Chan<int> pong = make_chan<int>();
  std::thread other([&] {
    for (const int value : ping) pong.send(value + 1);
    pong.close();
  });
  int value = 0;
  const int count = weft::test::rounds(2000);
  for (int i = 0; i < count; ++i) {
    ping.send(value);
    value = *pong.recv();
  }
  ping.close();
  EXPECT_FALSE(pong.recv());
  other.join();
  EXPECT_EQ(value, count);
}

}  // namespace
