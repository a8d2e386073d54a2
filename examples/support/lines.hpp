// Lines over a connection: read by a server, or said and expected by the actors of a scene.

#pragma once

#include <cstddef>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>

#include "check.hpp"

namespace examples {

/// Lines of a stream, without their ends.
class LineReader {
 public:
  static constexpr std::size_t kLongest = 4'096;

  explicit LineReader(weft::net::Stream& stream) : stream_(stream) {}

  /// Nothing at the end, after an error, and instead of a line that is too long.
  std::optional<std::string> next() {
    for (;;) {
      const std::size_t end = text_.find('\n');
      if (end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        if (line.ends_with('\r')) {
          line.pop_back();
        }
        return line;
      }
      if (is_too_long()) {
        return std::nullopt;
      }
      char part[1'024];
      std::error_code error;
      const std::size_t size = stream_.read_some(std::as_writable_bytes(std::span(part)), error);
      if (error) {
        return std::nullopt;
      }
      text_.append(part, size);
    }
  }
  [[nodiscard]] bool is_too_long() const { return text_.size() > kLongest && text_.find('\n') == std::string::npos; }

 private:
  weft::net::Stream& stream_;
  std::string text_;
};

/// A client who plays a part: says lines, and expects to hear others. Prints both.
class Actor {
 public:
  Actor(std::string name, const std::string& address, Check& check)
      : name_(std::move(name)), stream_(weft::net::dial_tcp(address)), lines_(stream_), check_(check) {}

  void say(const std::string& line) {
    std::printf("%-6s > %s\n", name_.c_str(), line.c_str());
    say_quietly(line);
  }
  void say_quietly(const std::string& line) { stream_.write(line + "\n"); }

  void hear(const std::string& expected) {
    const std::string line = next();
    std::printf("%-6s < %s\n", name_.c_str(), line.c_str());
    check_.expect(line == expected, name_ + " hears: " + expected);
  }
  std::string next() { return lines_.next().value_or(kEnd); }

  static constexpr const char* kEnd = "(hung up)";

 private:
  std::string name_;
  weft::net::Stream stream_;
  LineReader lines_;
  Check& check_;
};

}  // namespace examples
