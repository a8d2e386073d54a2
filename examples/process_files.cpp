// process_files: a goroutine for each file under a folder, a hundred thousand at once if need be

// Go original: processFiles of the article's "Concurrent Data Processing", with file_facts (size, line count and
// SHA-256 of a file) as its processFile. One thing is added: a channel used as a counting semaphore, because a hundred
// thousand goroutines are cheap and a hundred thousand open files are not to be had.

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>

#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/file_facts.hpp"
#include "support/report.hpp"

namespace {

using examples::FileResult;

// The buffer's capacity is the number of permits: to send takes one (and waits while all are taken), to receive gives
// it back. This is Go's own idiom for a bounded number of anything.
FileResult process_file(const std::string& file, weft::Chan<weft::Unit> sem) {
  sem.send({});
  const examples::Defer release([&] { sem.recv(); });
  return examples::file_facts(file);
}

std::vector<FileResult> process_files(const std::vector<std::string>& files, std::size_t max_open_files) {
  auto sem = weft::make_chan<weft::Unit>(max_open_files);
  auto results = weft::make_chan<FileResult>(files.size());

  for (const std::string& file : files) {
    weft::go([=](const std::string& f) { results.send(process_file(f, sem)); }, file);
  }

  examples::Progress progress("process_files", files.size());
  std::vector<FileResult> output;
  for (std::size_t i = 0; i < files.size(); ++i) {
    output.push_back(*results.recv());
    progress.update(i + 1);
  }
  return output;
}

int process_folder(const std::string& folder, bool sources_only, std::size_t max_open_files, std::size_t rows) {
  const examples::Listing listing = examples::list_files(folder, sources_only);

  const auto start = std::chrono::steady_clock::now();
  const std::vector<FileResult> results = process_files(listing.files, max_open_files);
  const double seconds = examples::seconds_since(start);

  const std::size_t failed = examples::print_table(results, listing.failed_folders, folder, rows);
  std::printf("%s goroutines, %s results, %zu files open at most, %.1f ms on %u processors\n",
              examples::grouped(listing.files.size()).c_str(), examples::grouped(results.size()).c_str(),
              max_open_files, seconds * 1e3, weft::stats().processors);
  return examples::exit_status("process_files", failed);
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "process_files",
      "Computes size, line count and SHA-256 of every file under a folder, a goroutine for each file.\n"
      "A file that cannot be read is a row of the table that says why; the exit status is then 1.\n"
      "Symbolic links to folders are not followed.");
  std::string folder = WEFT_SOURCE_ROOT;
  std::size_t max_open_files = 32;
  std::size_t rows = 10;
  bool show_all = false;
  command_line.folder("folder", folder, "Folder to read [default: weft's own sources, without .git and build folders]");
  command_line.number("--open-files", max_open_files, "How many files may be open at the same time", 1, 1'000'000);
  command_line.number("--top", rows, "How many of the largest files to print", 0, 1'000'000'000);
  command_line.flag("--all", show_all, "Print every file");

  return command_line.run(argc, argv, [&] {
    if (show_all) {
      rows = std::numeric_limits<std::size_t>::max();
    }
    return weft::run([&] { return process_folder(folder, !command_line.was_given("folder"), max_open_files, rows); });
  });
}
