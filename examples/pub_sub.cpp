// pub_sub: topics and subscribers with bounded queues; what happens to the messages of those who are too slow

// There is no original in the article; in Go it would read the same. A publisher never waits for anybody: a queue that
// is full loses its oldest or its newest message, as its subscriber has chosen, and the loss is counted. Whoever
// subscribes hands in a context; when that is done, the subscription is over and its channel is closed.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"

namespace {

using std::chrono::milliseconds;
using Message = std::size_t;  // its number

enum class WhenFull { drop_oldest, drop_newest };

/// A queue of one subscriber. The channel may be received from by anybody; all else is guarded by the broker's mutex.
struct Subscription {
  weft::Chan<Message> queue;
  WhenFull when_full;
  std::size_t sent = 0;  // while it was subscribed
  std::size_t dropped = 0;

  /// Never blocks: only the broker sends, one at a time, so a place that was made free stays free.
  void offer(Message message) {
    ++sent;
    if (queue.try_send(message) == weft::ChanStatus::ok) {
      return;
    }
    ++dropped;
    if (when_full == WhenFull::drop_oldest) {
      if (!queue.try_recv()) {
        --dropped;  // the subscriber was faster: it has just made a place
      }
      static_cast<void>(queue.try_send(message));
    }
  }
};

class Broker {
 public:
  /// Until ctx is done; then the channel is closed, and what is queued can still be received.
  std::shared_ptr<const Subscription> subscribe(const weft::Context& ctx, const std::string& topic,
                                                std::size_t capacity, WhenFull when_full) {
    auto subscription = std::make_shared<Subscription>(Subscription{weft::make_chan<Message>(capacity), when_full});
    {
      const std::lock_guard lock(topics_->mutex);
      topics_->subscriptions[topic].push_back(subscription);
    }
    // It runs in a goroutine of its own, perhaps after this broker is gone: so it holds what it uses.
    weft::after_func(ctx, [topics = topics_, topic, subscription] {
      const std::lock_guard lock(topics->mutex);
      std::erase(topics->subscriptions[topic], subscription);
      subscription->queue.close();
    });
    return subscription;
  }

  void publish(const std::string& topic, Message message) {
    const std::lock_guard lock(topics_->mutex);
    const auto found = topics_->subscriptions.find(topic);
    if (found != topics_->subscriptions.end()) {
      for (const auto& subscription : found->second) {
        subscription->offer(message);
      }
    }
  }

 private:
  struct Topics {
    weft::Mutex mutex;
    std::map<std::string, std::vector<std::shared_ptr<Subscription>>> subscriptions;  // guarded by mutex
  };
  std::shared_ptr<Topics> topics_ = std::make_shared<Topics>();
};

/// Somebody who subscribes, takes `pause` over each message, and remembers what it got.
struct Reader {
  std::string name;
  std::string topic;
  std::size_t capacity;
  WhenFull when_full;
  milliseconds pause;
  std::size_t leaves_after = 0;  // messages; 0: stays to the end

  std::vector<Message> got = {};
  std::shared_ptr<const Subscription> subscription = nullptr;

  void read(const weft::CancelFunc& unsubscribe) {
    for (const Message message : subscription->queue) {
      got.push_back(message);
      if (got.size() == leaves_after) {
        unsubscribe();
      }
      weft::sleep_for(pause);
    }
  }
};

std::string shortened(const std::vector<Message>& numbers) {
  constexpr std::size_t kShown = 12;
  std::string text;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers.size() > kShown && i == kShown - 2) {
      text += " ...";
      i = numbers.size() - 2;
    }
    text += " " + std::to_string(numbers[i]);
  }
  return text;
}

void print(const std::vector<Reader>& readers) {
  std::printf("%-12s %-7s %5s  %-11s %5s %5s %8s  %s\n", "subscriber", "topic", "queue", "when full", "sent", "got",
              "dropped", "messages");
  for (const Reader& reader : readers) {
    std::printf("%-12s %-7s %5zu  %-11s %5zu %5zu %8zu %s\n", reader.name.c_str(), reader.topic.c_str(),
                reader.capacity, reader.when_full == WhenFull::drop_oldest ? "drop oldest" : "drop newest",
                reader.subscription->sent, reader.got.size(), reader.subscription->dropped,
                shortened(reader.got).c_str());
  }
}

void check_reader(const Reader& reader, std::size_t messages, examples::Check& check) {
  const Subscription& subscription = *reader.subscription;
  const std::string who = reader.name + ": ";
  check.expect(reader.got.size() + subscription.dropped == subscription.sent, who + "each message came or was counted");
  check.expect(std::adjacent_find(reader.got.begin(), reader.got.end(), std::greater_equal<>()) == reader.got.end(),
               who + "they came in order");
  if (reader.leaves_after > 0) {
    check.expect(reader.got.size() >= std::min(reader.leaves_after, subscription.sent),
                 who + "it left not before its time");
    return;
  }
  check.expect(subscription.sent == messages, who + "it was subscribed all the time");
  if (messages > 0) {
    const Message kept = reader.when_full == WhenFull::drop_oldest ? messages : 1;
    check.expect(std::count(reader.got.begin(), reader.got.end(), kept) == 1,
                 who + "what its policy keeps was not dropped");
  }
}

void publish_and_subscribe(std::size_t messages, milliseconds interval, examples::Check& check) {
  const auto oldest = WhenFull::drop_oldest;
  const auto newest = WhenFull::drop_newest;
  std::vector<Reader> readers{
      {.name = "fast", .topic = "prices", .capacity = 16, .when_full = oldest, .pause = milliseconds(0)},
      {.name = "slow", .topic = "prices", .capacity = 4, .when_full = oldest, .pause = 5 * interval},
      {.name = "slow, too", .topic = "prices", .capacity = 4, .when_full = newest, .pause = 5 * interval},
      {.name = "leaves early", .topic = "prices", .capacity = 16, .when_full = oldest, .pause = {}, .leaves_after = 5},
      {.name = "elsewhere", .topic = "news", .capacity = 16, .when_full = newest, .pause = {}},
  };

  Broker broker;
  const auto [ctx, end] = weft::with_cancel(weft::background());
  weft::WaitGroup wg;
  for (Reader& reader : readers) {
    auto [own_ctx, unsubscribe] = weft::with_cancel(ctx);
    reader.subscription = broker.subscribe(own_ctx, reader.topic, reader.capacity, reader.when_full);
    wg.go([&reader, unsubscribe = unsubscribe] { reader.read(unsubscribe); });
  }

  const std::size_t news = messages / 10;
  for (Message i = 1; i <= messages; ++i) {
    broker.publish("prices", i);
    if (i % 10 == 0) {
      broker.publish("news", i / 10);
    }
    weft::sleep_for(interval);
  }
  end();      // ends every subscription
  wg.wait();  // until all have read what was still in their queues

  print(readers);
  for (const Reader& reader : readers) {
    check_reader(reader, reader.topic == "news" ? news : messages, check);
  }
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "pub_sub",
      "A broker hands every message of a topic to all who subscribed to it. Their queues are bounded; those who are "
      "too\n"
      "slow lose their oldest or newest messages, and the publisher never waits. A context ends each subscription.");
  std::size_t messages = 50;
  unsigned interval_ms = 10;
  command_line.number("--messages", messages, "How many prices are published; news are a tenth of that", 0, 100'000);
  command_line.number("--interval-ms", interval_ms, "Milliseconds from one message to the next", 0, 60'000);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("pub_sub");
      publish_and_subscribe(messages, milliseconds(interval_ms), check);
      std::printf("%llu goroutines left over\n", static_cast<unsigned long long>(check.left_over()));
      return check.exit_status();
    });
  });
}
