// What worker_pool and process_files print: a table of files with totals, and a progress line on a terminal.

#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.hpp"
#include "file_facts.hpp"
#include "numbers.hpp"

namespace examples {

/// A line on stderr that is rewritten in place: ten times a second at most, and only when somebody watches.
class Progress {
 public:
  Progress(std::string_view label, std::size_t total) : label_(label), total_(total) {}
  ~Progress() {
    if (is_shown_) {
      std::fputs("\r\033[K", stderr);  // the line has served; clear it
    }
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::size_t done) {
    if (!is_terminal_ || seconds_since(last_) < 0.1) {
      return;
    }
    last_ = std::chrono::steady_clock::now();
    is_shown_ = true;
    std::fprintf(stderr, "\r\033[K%s: %s of %s files", label_.c_str(), grouped(done).c_str(), grouped(total_).c_str());
  }

 private:
  std::string label_;
  std::size_t total_;
  bool is_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool is_shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Prints the `rows` largest files, names relative to `folder`, after them every file and folder that failed with the
/// reason, and the totals. Returns how many failed.
inline std::size_t print_table(std::vector<FileResult> results, const std::vector<FailedFolder>& failed_folders,
                               const std::string& folder, std::size_t rows) {
  std::sort(results.begin(), results.end(), [](const FileResult& a, const FileResult& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.path < b.path;
  });
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::size_t good_files = 0;
  std::printf("%14s %10s  %-64s  %s\n", "bytes", "lines", "sha-256", "file");
  for (const FileResult& result : results) {
    if (!result.error.empty()) {
      continue;
    }
    bytes += result.bytes;
    lines += result.lines;
    if (good_files++ < rows) {
      std::string_view name = result.path;
      if (name.starts_with(folder)) {
        name.remove_prefix(folder.size());
        name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
      }
      std::printf("%14s %10s  %s  %s\n", grouped(result.bytes).c_str(), grouped(result.lines).c_str(),
                  result.sha256.c_str(), printable(name).c_str());
    }
  }
  if (good_files > rows) {
    std::printf("%14s %10s  and %s smaller files\n", "...", "...", grouped(good_files - rows).c_str());
  }

  const std::size_t failed_files = results.size() - good_files;
  for (const FileResult& result : results) {
    if (!result.error.empty()) {
      std::printf("%14s %10s  %s\n", "-", "-", result.error.c_str());
    }
  }
  for (const FailedFolder& failed : failed_folders) {
    std::printf("%14s %10s  %s\n", "-", "-", failed.error.c_str());
  }
  std::printf("total: %s files, %s bytes, %s lines, %s failed", grouped(results.size()).c_str(), grouped(bytes).c_str(),
              grouped(lines).c_str(), grouped(failed_files).c_str());
  if (!failed_folders.empty()) {
    std::printf(", %s folders not listed", grouped(failed_folders.size()).c_str());
  }
  std::printf(", under %s\n", printable(folder).c_str());
  return failed_files + failed_folders.size();
}

/// The exit status of a program that could not read so many files and folders; says so on stderr if it is not 0.
inline int exit_status(const char* program, std::size_t failed) {
  if (failed == 0) {
    return 0;
  }
  std::fprintf(stderr, "%s: %s could not be read; the last rows of the table say why\n", program,
               failed == 1 ? "one file or folder" : (grouped(failed) + " files or folders").c_str());
  return kFailed;
}

}  // namespace examples
