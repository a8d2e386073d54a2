// wait_group_fetch: a goroutine for each file fills its own place in the results, a WaitGroup says when all have

// Go original: fetchAllURLs and fetchURL of the article's "Go Goroutines and Channels", over files instead of URLs.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/files.hpp"
#include "support/report.hpp"

namespace {

struct FetchResult {
  std::string path;
  std::string status = {};
  std::string data = {};
  std::string error = {};
};

FetchResult fetch_file(const std::string& path) {
  FetchResult result{.path = path};
  try {
    result.error = examples::read_file(path, [&](std::span<const std::byte> block) {
      result.data.append(reinterpret_cast<const char*>(block.data()), block.size());
    });
  } catch (const std::exception& failure) {  // too large to hold
    result.error = examples::cannot("read", path, failure.what());
  }
  result.status = result.error.empty() ? "ok" : "failed";
  return result;
}

std::vector<FetchResult> fetch_all_files(const std::vector<std::string>& paths) {
  std::vector<FetchResult> results(paths.size());
  weft::WaitGroup wg;

  for (std::size_t i = 0; i < paths.size(); ++i) {
    wg.add(1);
    weft::go(
        [&](std::size_t idx, const std::string& path) {
          const examples::Defer done([&] { wg.done(); });
          results[idx] = fetch_file(path);
        },
        i, paths[i]);
  }

  wg.wait();
  return results;
}

/// The sources of the examples, whose first lines make a list of what there is to run.
std::vector<std::string> example_sources() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(WEFT_SOURCE_ROOT "/examples")) {
    if (entry.path().extension() == ".cpp") {
      paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

int print_all(const std::vector<FetchResult>& results) {
  std::size_t failed = 0;
  for (const FetchResult& result : results) {
    if (!result.error.empty()) {
      ++failed;
      std::printf("%-6s %12s  %s\n", result.status.c_str(), "-", result.error.c_str());
      continue;
    }
    const std::string name = std::filesystem::path(result.path).filename().string();
    const std::string first_line = result.data.substr(0, std::min<std::size_t>(result.data.find('\n'), 120));
    std::printf("%-6s %12s  %-22s  %s\n", result.status.c_str(), examples::grouped(result.data.size()).c_str(),
                examples::printable(name).c_str(), examples::printable(first_line).c_str());
  }
  std::printf("%zu files, %zu failed\n", results.size(), failed);
  if (failed > 0) {
    std::fprintf(stderr, "wait_group_fetch: %zu of %zu files could not be read\n", failed, results.size());
  }
  return failed > 0 ? examples::kFailed : 0;
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "wait_group_fetch",
      "Reads files, a goroutine for each, and prints the first line of each in the order given.\n"
      "A file that cannot be read is a row that says why; the exit status is then 1.");
  std::vector<std::string> paths;
  command_line.texts("files", paths, "Files to read [default: the sources of weft's examples]");

  return command_line.run(argc, argv, [&] {
    if (paths.empty()) {
      paths = example_sources();
    }
    return weft::run([&] { return print_all(fetch_all_files(paths)); });
  });
}
