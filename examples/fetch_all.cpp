// fetch_all: a goroutine for each URL fetches its page and fills its own place in the results

// Go original: fetchURL and fetchAllURLs of the article's "Go Goroutines and Channels". (wait_group_fetch is the same over files.)

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <weft/go.hpp>
#include <weft/http/client.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/fetch.hpp"

namespace {

using examples::FetchResult;

std::vector<FetchResult> fetch_all_urls(weft::http::Client& client, const std::vector<std::string>& urls) {
  std::vector<FetchResult> results(urls.size());
  weft::WaitGroup wg;

  for (std::size_t i = 0; i < urls.size(); ++i) {
    wg.add(1);
    weft::go(
        [&](std::size_t idx, const std::string& url) {
          const examples::Defer done([&] { wg.done(); });
          results[idx] = examples::fetch_url(client, url);
        },
        i, urls[i]);
  }

  wg.wait();
  return results;
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "fetch_all",
      "Fetches pages, a goroutine for each, and prints what came in the order given.\n"
      "A page that cannot be fetched is a row that says why; the exit status is then 1.");
  std::vector<std::string> urls;
  std::uint64_t timeout_ms = 1'000;
  command_line.texts("urls", urls, "URLs to fetch [default: some of a small site that it serves itself]");
  command_line.number("--timeout-ms", timeout_ms, "How long one fetch may take", 1, 3'600'000);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] { return examples::fetch_and_report("fetch_all", urls, timeout_ms, &fetch_all_urls); });
  });
}
