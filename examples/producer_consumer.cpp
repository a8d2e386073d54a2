// producer_consumer: one producer, three consumers and a buffered channel between them

// Go original: producer, consumer and main of the article's "Producer-Consumer pattern". What it prints is what the Go
// program prints; which consumer gets which item is up to the scheduler, there as here.

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "support/command_line.hpp"
#include "support/defer.hpp"

namespace {

std::chrono::milliseconds work{100};

void producer(const std::vector<std::string>& items, weft::SendChan<std::string> out) {
  for (const std::string& item : items) {
    out.send(item);
    std::printf("Produced: %s\n", item.c_str());
  }
  out.close();
}

void consumer(const std::string& name, weft::RecvChan<std::string> in, weft::WaitGroup* wg) {
  const examples::Defer done([&] { wg->done(); });
  for (const std::string& item : in) {
    std::printf("Consumer %s processing: %s\n", name.c_str(), item.c_str());
    weft::sleep_for(work);  // Simulate work
  }
}

void produce_and_consume(std::size_t count, std::size_t capacity) {
  std::vector<std::string> items(count);
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i] = "item_" + std::to_string(i);
  }

  auto ch = weft::make_chan<std::string>(capacity);
  weft::WaitGroup wg;

  // Start consumers
  for (const char* name : {"A", "B", "C"}) {
    wg.add(1);
    weft::go(consumer, name, ch, &wg);
  }

  // Start producer
  weft::go(producer, items, ch);

  wg.wait();
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "producer_consumer", "One producer sends items through a buffered channel to the consumers A, B and C.");
  std::size_t items = 20;
  std::size_t capacity = 100;
  unsigned work_ms = 100;
  command_line.number("--items", items, "How many items are produced", 0, 10'000'000);
  command_line.number("--capacity", capacity, "How many items the channel holds; 0 hands each over directly", 0,
                      10'000'000);
  command_line.number("--work-ms", work_ms, "How long a consumer works on an item, in milliseconds", 0, 3'600'000);

  return command_line.run(argc, argv, [&] {
    work = std::chrono::milliseconds(work_ms);
    weft::run([&] { produce_and_consume(items, capacity); });
    return 0;
  });
}
