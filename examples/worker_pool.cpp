// worker_pool: N workers share a channel of jobs and hash every file under a folder

// Go original: fetchWithWorkerPool of the article's "Bounded concurrency with worker pool", with file_facts (size, line
// count and SHA-256 of a file) in the place of fetchURL.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>

#include "support/command_line.hpp"
#include "support/file_facts.hpp"
#include "support/report.hpp"

namespace {

using examples::FileResult;

std::vector<FileResult> process_with_worker_pool(const std::vector<std::string>& files, std::size_t max_workers,
                                                 examples::Progress& progress) {
  auto jobs = weft::make_chan<std::string>(files.size());
  auto results = weft::make_chan<FileResult>(files.size());

  // Start workers
  for (std::size_t w = 0; w < max_workers; ++w) {
    weft::go([=] {
      for (const std::string& file : jobs) {
        results.send(examples::file_facts(file));
        weft::yield();  // neither channel ever makes a worker wait; let the collector below have a turn all the same
      }
    });
  }

  // Send jobs
  for (const std::string& file : files) {
    jobs.send(file);
  }
  jobs.close();

  // Collect results
  std::vector<FileResult> file_results;
  for (std::size_t i = 0; i < files.size(); ++i) {
    file_results.push_back(*results.recv());
    progress.update(i + 1);
  }
  return file_results;
}

struct Options {
  std::string folder = WEFT_SOURCE_ROOT;
  bool sources_only = true;
  std::size_t workers = 0;
  std::size_t rows = 10;
  bool is_timed = true;
};

/// One pass over all files: what it found, in order of name, and how long it took.
std::pair<std::vector<FileResult>, double> timed_pass(const std::vector<std::string>& files, std::size_t workers,
                                                      const std::string& label) {
  examples::Progress progress(label, files.size());
  const auto start = std::chrono::steady_clock::now();
  std::vector<FileResult> results = process_with_worker_pool(files, workers, progress);
  const double seconds = examples::seconds_since(start);
  std::sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return {std::move(results), seconds};
}

/// Times passes with one worker and with all of them in turn, and says what the others bring. The files have just been
/// read by another pass, so neither side waits for the disk if memory holds them all. The fastest pass counts on either
/// side: it is the one that other programs on this machine have disturbed least.
void print_speed_up(const std::vector<std::string>& files, std::size_t workers,
                    const std::vector<FileResult>& expected) {
  double alone = std::numeric_limits<double>::infinity();
  double together = alone;
  std::size_t passes = 0;
  bool is_same = true;
  const auto start = std::chrono::steady_clock::now();
  do {
    ++passes;
    for (const bool is_alone : {true, false}) {
      const auto [results, seconds] =
          timed_pass(files, is_alone ? 1 : workers, is_alone ? "timing one worker" : "timing all workers");
      double& fastest = is_alone ? alone : together;
      fastest = std::min(fastest, seconds);
      is_same = is_same && results == expected;
    }
  } while (passes < 3 || examples::seconds_since(start) < 0.5);  // few files need many passes for a steady figure

  std::printf("speed-up: %.2fx on %u processors (1 worker %.2f ms, %zu workers %.2f ms; fastest of %zu passes each)\n",
              alone / together, weft::stats().processors, alone * 1e3, workers, together * 1e3, passes);
  double load = 0;
  if (::getloadavg(&load, 1) == 1 && load > weft::stats().processors + 1.0) {
    std::printf("note: other programs keep this machine busy (load %.1f), which hides the speed-up\n", load);
  }
  if (!is_same) {
    std::printf("note: files changed while they were being timed\n");
  }
}

int hash_folder(Options options) {
  if (options.workers == 0) {
    options.workers = weft::stats().processors;
  }
  const examples::Listing listing = examples::list_files(options.folder, options.sources_only);

  const auto [results, seconds] = timed_pass(listing.files, options.workers, "worker_pool");
  const std::size_t failed = examples::print_table(results, listing.failed_folders, options.folder, options.rows);
  std::printf("first pass: %.1f ms with %zu workers on %u processors\n", seconds * 1e3, options.workers,
              weft::stats().processors);
  if (options.workers > 1 && options.is_timed && !listing.files.empty()) {
    std::fflush(stdout);  // the table should not wait for the timing
    print_speed_up(listing.files, options.workers, results);
  }
  return examples::exit_status("worker_pool", failed);
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "worker_pool",
      "Computes size, line count and SHA-256 of every file under a folder with a pool of workers.\n"
      "A file that cannot be read is a row of the table that says why; the exit status is then 1.\n"
      "Symbolic links to folders are not followed.");
  Options options;
  bool show_all = false;
  bool is_untimed = false;
  command_line.folder("folder", options.folder,
                      "Folder to read [default: weft's own sources, without .git and build folders]");
  command_line.number("--workers", options.workers, "Number of workers [default: one for each processor]", 1, 100'000);
  command_line.number("--top", options.rows, "How many of the largest files to print", 0, 1'000'000'000);
  command_line.flag("--all", show_all, "Print every file");
  command_line.flag("--no-speed-up", is_untimed, "Read each file once only; do not time one worker against all");

  return command_line.run(argc, argv, [&] {
    options.sources_only = !command_line.was_given("folder");
    options.is_timed = !is_untimed;
    if (show_all) {
      options.rows = std::numeric_limits<std::size_t>::max();
    }
    return weft::run([&] { return hash_folder(options); });
  });
}
