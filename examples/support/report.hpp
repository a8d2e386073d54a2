// What worker_pool and process_files print: a table of files, totals, and a progress line on a terminal.

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

#include "file_facts.hpp"

namespace examples {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// 1234567 as 1,234,567.
inline std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) {
    digits.insert(i - 3, 1, ',');
  }
  return digits;
}

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

struct Totals {
  std::uint64_t files = 0, bytes = 0, lines = 0, failed = 0;
};

inline Totals add_up(const std::vector<FileResult>& results) {
  Totals totals;
  for (const FileResult& result : results) {
    ++totals.files;
    totals.bytes += result.bytes;
    totals.lines += result.lines;
    totals.failed += result.error.empty() ? 0 : 1;
  }
  return totals;
}

/// Prints the `rows` largest files, names shown relative to `folder`, and after them every file that failed.
inline void print_table(std::vector<FileResult> results, std::string_view folder, std::size_t rows) {
  std::sort(results.begin(), results.end(), [](const FileResult& a, const FileResult& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.path < b.path;
  });
  std::printf("%14s %10s  %-64s  %s\n", "bytes", "lines", "sha-256", "file");
  std::size_t printed = 0;
  std::size_t left_out = 0;
  for (const FileResult& result : results) {
    if (!result.error.empty()) {
      continue;
    }
    if (printed == rows) {
      ++left_out;
      continue;
    }
    ++printed;
    std::string_view name = result.path;
    if (name.starts_with(folder)) {
      name.remove_prefix(folder.size());
      name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
    }
    std::printf("%14s %10s  %s  %s\n", grouped(result.bytes).c_str(), grouped(result.lines).c_str(),
                result.sha256.c_str(), printable(name).c_str());
  }
  if (left_out > 0) {
    std::printf("%14s %10s  and %s smaller files\n", "...", "...", grouped(left_out).c_str());
  }
  for (const FileResult& result : results) {
    if (!result.error.empty()) {
      std::printf("%14s %10s  %s\n", "-", "-", result.error.c_str());
    }
  }
}

}  // namespace examples
