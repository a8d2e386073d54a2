// What fetch_all and fetch_worker_pool have in common: one page, and the table of all.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <boost/json.hpp>

#include <weft/context.hpp>
#include <weft/http/client.hpp>
#include <weft/http/json.hpp>
#include <weft/time.hpp>

#include "check.hpp"
#include "command_line.hpp"
#include "demo_site.hpp"
#include "files.hpp"

namespace examples {

/// Go original: FetchResult, which has no time and leaves out what is no JSON.
struct FetchResult {
  std::string url;
  int status = 0;                     // 0: there was no reply
  boost::json::value data = nullptr;  // null if what came is no JSON
  std::string other = {};             // what came instead
  std::string error = {};             // why there is no whole reply
  double seconds = 0;
};

/// Go original: fetchURL. The client has a timeout for each fetch.
inline FetchResult fetch_url(weft::http::Client& client, const std::string& url) {
  FetchResult result{.url = url};
  const auto start = weft::Clock::now();

  std::error_code error;
  weft::http::Response response = client.get(url, weft::background(), error);
  if (!error) {
    result.status = weft::http::code(response.status());
    const std::size_t size = response.body(error).size();
    std::error_code no_json;
    if (!error) result.data = weft::http::read_json(response, no_json);
    if (no_json) result.other = std::to_string(size) + " bytes of " + std::string(response.header("Content-Type"));
  }
  if (error) result.error = error.message();

  result.seconds = std::chrono::duration<double>(weft::Clock::now() - start).count();
  return result;
}

inline void print_fetch(const FetchResult& result) {
  constexpr std::size_t kMostText = 60;
  std::string what = !result.error.empty()   ? result.error
                     : !result.other.empty() ? result.other
                                             : boost::json::serialize(result.data);
  if (what.size() > kMostText) what = what.substr(0, kMostText - 3) + "...";
  const std::string status = result.status == 0 ? "-" : std::to_string(result.status);
  std::printf("%-36s %6s %6.0f ms  %s\n", printable(result.url).c_str(), status.c_str(), result.seconds * 1e3,
              printable(what).c_str());
}

/// Prints all of them. Returns how many have failed.
inline std::size_t print_fetches(const std::vector<FetchResult>& results, double seconds) {
  double in_turn = 0;
  std::size_t failed = 0;
  std::printf("%-36s %6s %9s  %s\n", "URL", "status", "time", "what came");
  for (const FetchResult& result : results) {
    print_fetch(result);
    in_turn += result.seconds;
    if (!result.error.empty()) ++failed;
  }
  std::printf("%zu pages, %zu failed, in %.0f ms; one after the other it would have been %.0f ms\n", results.size(),
              failed, seconds * 1e3, in_turn * 1e3);
  return failed;
}

/// The body of both programs: fetches the URLs, or, told none, the pages of a site of its own, whose failures are known.
template <class Fetch>
int fetch_and_report(const char* program, const std::vector<std::string>& given, std::uint64_t timeout_ms,
                     Fetch fetch) {
  Check check(program);
  std::size_t failed = 0;
  const auto fetch_these = [&](const std::vector<std::string>& urls) {
    weft::http::Client client({.timeout = std::chrono::milliseconds(timeout_ms), .max_body_bytes = 1'000'000});
    const auto start = weft::Clock::now();
    std::vector<FetchResult> results = fetch(client, urls);
    failed = print_fetches(results, std::chrono::duration<double>(weft::Clock::now() - start).count());
    return results;
  };

  if (!given.empty()) {
    fetch_these(given);
    if (failed > 0) std::fprintf(stderr, "%s: %zu of %zu pages could not be fetched\n", program, failed, given.size());
    return failed > 0 ? kFailed : 0;
  }
  {
    const DemoSite site;
    const std::vector<DemoSite::Page> pages = site.pages();
    std::vector<std::string> urls;
    for (const DemoSite::Page& page : pages) urls.push_back(page.url);
    const std::vector<FetchResult> results = fetch_these(urls);
    check.expect(results.size() == pages.size(), "each page has a row");
    for (const DemoSite::Page& page : pages) {
      const auto row =
          std::find_if(results.begin(), results.end(), [&](const auto& one) { return one.url == page.url; });
      check.expect(row != results.end() && row->error.empty() == page.is_whole,
                   page.url + (page.is_whole ? " is fetched" : " fails"));
    }
  }
  check.left_over();
  return check.exit_status();
}

}  // namespace examples
