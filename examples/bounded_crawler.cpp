// bounded_crawler: an ErrGroup with a limit crawls a graph of pages; the first error cancels the rest

// Go original: the web crawler of A Tour of Go (a visited set under a mutex), with golang.org/x/sync/errgroup and its
// SetLimit. The pages are in memory: node i links to 6i mod 5000 and i*i+4 mod 5000, and a fetch is a short sleep.
//
// A task that has found new nodes must not call go() on its own group: with a limit, all tasks might wait in go() for a
// task to end. It calls try_go(), and keeps for itself what it cannot give away.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include <weft/context.hpp>
#include <weft/err_group.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/numbers.hpp"

namespace {

using Node = std::uint64_t;
constexpr Node kNodes = 5'000;
constexpr Node kStart = 1;

struct FetchError : std::runtime_error {
  explicit FetchError(Node node) : std::runtime_error("node " + std::to_string(node) + ": not found") {}
};

std::chrono::microseconds latency_of(std::chrono::microseconds base, Node node) { return base * (1 + node / 8 % 4); }

/// What one crawl has seen so far.
struct Tally {
  std::unordered_set<Node> visited = {};
  std::size_t fetched = 0;
  std::size_t cancelled = 0;  // fetches that were given up
  std::size_t in_flight = 0;
  std::size_t peak = 0;  // most fetches at the same time
};

class Crawler {
 public:
  /// `failing`: a node whose fetch fails; kNodes: none.
  Crawler(std::size_t limit, std::chrono::microseconds latency, Node failing) : latency_(latency), failing_(failing) {
    group_.set_limit(static_cast<std::int64_t>(limit));
  }

  /// Throws what the first fetch that failed has thrown.
  void run() {
    tally_.visited.insert(kStart);
    group_.go([this] { crawl(kStart); });
    group_.wait();
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }  // after run()
  [[nodiscard]] weft::Context context() { return group_.context(); }

 private:
  void crawl(Node start) {
    std::deque<Node> todo{start};  // oldest first: near nodes before far ones
    while (!todo.empty()) {
      const Node node = todo.front();
      todo.pop_front();
      for (const Node link : fetch(node)) {
        if (is_first_visit(link)) {
          todo.push_back(link);
        }
      }
      // Give away what others have room for, and keep at least one to go on with.
      while (todo.size() > 1 && group_.try_go([this, next = todo.front()] { crawl(next); })) {
        todo.pop_front();
      }
    }
  }

  bool is_first_visit(Node node) {
    const std::lock_guard lock(mutex_);
    return tally_.visited.insert(node).second;
  }

  std::vector<Node> fetch(Node node) {
    begin_fetch();
    const examples::Defer end([&] { end_fetch(); });
    const weft::Context ctx = group_.context();
    if (!weft::sleep_for(ctx, latency_of(latency_, node))) {
      const std::lock_guard lock(mutex_);
      ++tally_.cancelled;
      ctx.throw_if_done();  // not the first error, so nobody will see it: it only ends this task
    }
    if (node == failing_) {
      throw FetchError(node);
    }
    const std::lock_guard lock(mutex_);
    ++tally_.fetched;
    return {6 * node % kNodes, (node * node + 4) % kNodes};
  }

  void begin_fetch() {
    const std::lock_guard lock(mutex_);
    tally_.peak = std::max(tally_.peak, ++tally_.in_flight);
  }

  void end_fetch() {
    const std::lock_guard lock(mutex_);
    --tally_.in_flight;
  }

  const std::chrono::microseconds latency_;
  const Node failing_;
  weft::Mutex mutex_;
  Tally tally_;  // guarded by mutex_
  weft::ErrGroup group_{weft::background()};
};

void crawl_all(std::size_t limit, std::chrono::microseconds latency, examples::Check& check) {
  std::printf("crawl from node %llu, at most %zu fetches at a time\n", static_cast<unsigned long long>(kStart), limit);
  Crawler crawler(limit, latency, kNodes);
  const auto start = std::chrono::steady_clock::now();
  crawler.run();
  const double seconds = examples::seconds_since(start);

  const Tally& tally = crawler.tally();
  Node sum = 0;
  Node max = 0;
  std::chrono::duration<double> latencies{0};
  for (const Node node : tally.visited) {
    sum += node;
    max = std::max(max, node);
    latencies += latency_of(latency, node);
  }
  std::printf("  %zu nodes, sum %llu, max %llu\n", tally.visited.size(), static_cast<unsigned long long>(sum),
              static_cast<unsigned long long>(max));
  std::printf("  %zu fetches at a time at most; %.0f ms, one by one they would take %.0f ms\n", tally.peak,
              seconds * 1e3, latencies.count() * 1e3);
  std::printf("  (the last 106 nodes are a chain: each is known only when the one before it has been fetched)\n");
  check.expect(tally.visited.size() == 526 && sum == 1'287'946 && max == 4'984, "all 526 nodes were found");
  check.expect(tally.fetched == 526, "each was fetched once");
  check.expect(tally.peak <= limit, "no more were fetched at a time than the limit allows");
}

void crawl_until_failure(std::size_t limit, std::chrono::microseconds latency, Node failing, examples::Check& check) {
  std::printf("the same, but node %llu cannot be fetched\n", static_cast<unsigned long long>(failing));
  Crawler crawler(limit, latency, failing);
  std::string error = "none";
  try {
    crawler.run();
  } catch (const FetchError& failure) {
    error = failure.what();
  }

  const Tally& tally = crawler.tally();
  const bool is_reachable = tally.visited.contains(failing);
  std::printf("  first error: %s\n", error.c_str());
  std::printf("  %zu nodes found, %zu fetched, %zu fetches cancelled; %zu at a time at most\n", tally.visited.size(),
              tally.fetched, tally.cancelled, tally.peak);
  check.expect(error == (is_reachable ? FetchError(failing).what() : "none"), "the first error is the one reported");
  check.expect(tally.peak <= limit, "no more were fetched at a time than the limit allows");
  check.expect(tally.in_flight == 0, "no fetch goes on after wait()");
  if (!is_reachable) {
    std::printf("  (no link leads to that node)\n");
    check.expect(tally.fetched == 526, "each node was fetched once");
  }
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "bounded_crawler",
      "Crawls a graph of 5,000 nodes in memory: node i links to 6i mod 5000 and i*i+4 mod 5000. No more fetches go on "
      "at\n"
      "a time than the limit allows. Then does it again with a node that fails, which ends the whole crawl.");
  std::size_t limit = 8;
  unsigned latency_us = 500;
  Node failing = 1'860;
  command_line.number("--limit", limit, "How many fetches may go on at a time", 1, 10'000);
  command_line.number("--latency-us", latency_us, "A fetch takes one to four times as many microseconds", 0, 1'000'000);
  command_line.number("--fail", failing, "The node whose fetch fails in the second crawl", Node{0}, kNodes - 1);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("bounded_crawler");
      const std::chrono::microseconds latency(latency_us);
      crawl_all(limit, latency, check);
      crawl_until_failure(limit, latency, failing, check);
      std::printf("%s goroutines left over\n", examples::grouped(check.left_over()).c_str());
      return check.exit_status();
    });
  });
}
