// fetch_worker_pool: N workers share a channel of URLs and send what they fetch to another

// Go original: fetchWithWorkerPool of the article's "Bounded concurrency with worker pool". (worker_pool is the same over files.)

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/http/client.hpp>
#include <weft/runtime.hpp>

#include "support/command_line.hpp"
#include "support/fetch.hpp"

namespace {

using examples::FetchResult;

std::vector<FetchResult> fetch_with_worker_pool(weft::http::Client& client, const std::vector<std::string>& urls,
                                                std::uint64_t max_workers) {
  auto jobs = weft::make_chan<std::string>(urls.size());
  auto results = weft::make_chan<FetchResult>(urls.size());

  // Start workers
  for (std::uint64_t w = 0; w < max_workers; ++w) {
    weft::go([=, &client] {
      for (const std::string& url : jobs) {
        results.send(examples::fetch_url(client, url));
      }
    });
  }

  // Send jobs
  for (const std::string& url : urls) {
    jobs.send(url);
  }
  jobs.close();

  // Collect results
  std::vector<FetchResult> fetch_results;
  for (std::size_t i = 0; i < urls.size(); ++i) {
    fetch_results.push_back(*results.recv());
  }
  return fetch_results;
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "fetch_worker_pool",
      "Fetches pages with a pool of workers, and prints what came in the order in which it came.\n"
      "A page that cannot be fetched is a row that says why; the exit status is then 1.");
  std::vector<std::string> urls;
  std::uint64_t workers = 3;
  std::uint64_t timeout_ms = 1'000;
  command_line.texts("urls", urls, "URLs to fetch [default: some of a small site that it serves itself]");
  command_line.number("--workers", workers, "Number of workers", 1, 100'000);
  command_line.number("--timeout-ms", timeout_ms, "How long one fetch may take", 1, 3'600'000);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      return examples::fetch_and_report("fetch_worker_pool", urls, timeout_ms, [&](auto& client, const auto& these) {
        return fetch_with_worker_pool(client, these, workers);
      });
    });
  });
}
