// Commands: starting a child, and running one to its end.

#include "weft/net/process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <span>

#include "last_error.hpp"
#include "process_launch.hpp"
#include "weft/error.hpp"
#include "weft/net/error.hpp"
#include "weft/wait_group.hpp"

namespace weft::net {
namespace {

constexpr std::size_t kChunk = 32 * 1024;
// How long the last words of a child that its context has ended are waited for: they are in the pipe already, unless
// somebody else has it open too.
constexpr std::chrono::milliseconds kLastWords{100};

std::error_code check_program(const std::string& path) {
  struct stat found = {};
  if (::stat(path.c_str(), &found) != 0) return last_error();
  if (S_ISDIR(found.st_mode)) return std::make_error_code(std::errc::is_a_directory);
  return ::access(path.c_str(), X_OK) == 0 ? std::error_code() : last_error();
}

/// Goroutines that gather what a child writes. The destructor ends and awaits them, whatever has happened.
class Gatherers {
 public:
  Gatherers() = default;
  Gatherers(const Gatherers&) = delete;
  Gatherers& operator=(const Gatherers&) = delete;
  ~Gatherers() {
    end_at(Clock::now());
    wg_.wait();
  }

  void gather(Stream& stream, std::string& text) {
    Source& source = sources_[count_++];
    source.stream = &stream;
    wg_.go([&source, &text] { read_all(source, text); });
  }
  bool wait(const Context& ctx) { return wg_.wait(ctx); }
  void end_at(TimePoint deadline) noexcept {
    for (Source& source : std::span(sources_, count_)) source.stream->set_read_deadline(deadline);
  }
  std::error_code finish() {
    wg_.wait();
    return sources_[0].error ? sources_[0].error : sources_[1].error;
  }

 private:
  struct Source {
    Stream* stream = nullptr;
    std::error_code error;
  };

  static void read_all(Source& source, std::string& text) {
    while (!source.error) {
      const std::size_t had = text.size();
      text.resize(had + kChunk);
      const auto room = std::as_writable_bytes(std::span(text)).subspan(had);
      text.resize(had + source.stream->read_some(room, source.error));
    }
    if (source.error == errc::eof) source.error.clear();
  }

  Source sources_[2];
  std::size_t count_ = 0;
  WaitGroup wg_;
};

}  // namespace

std::string find_program(std::string_view name, std::error_code& error) {
  if (name.find('/') != std::string_view::npos) {
    error = check_program(std::string(name));
    return error ? std::string() : std::string(name);
  }
  error = std::make_error_code(std::errc::no_such_file_or_directory);
  const char* const variable = ::getenv("PATH");
  std::string_view left = variable == nullptr ? "" : variable;
  while (!left.empty() && !name.empty()) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(folder.size() + 1, left.size()));
    if (!folder.starts_with('/')) continue;
    std::string path(folder);
    path.append("/").append(name);
    const std::error_code refused = check_program(path);
    if (!refused) {
      error.clear();
      return path;
    }
    if (refused == std::errc::permission_denied) error = refused;
  }
  return {};
}

std::vector<std::string> current_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

Child Command::start(const Context& ctx, std::error_code& error) const {
  detail::Launch launch(*this);
  Child child = launch.run(ctx);
  error = launch.error;
  return child;
}

Child Command::start(const Context& ctx) const {
  detail::Launch launch(*this);
  Child child = launch.run(ctx);
  launch.check("start");
  return child;
}

namespace detail {

Command Launch::gathering(Command command) {
  if (command.in.kind_ == Kind::kPipe)
    weft::detail::throw_panic("weft: net: Command::output: stdin is a pipe that nobody writes to; use start()");
  for (Stdio* stdio : {&command.out, &command.err}) {
    if (stdio->kind_ == Kind::kUnset) *stdio = Stdio::pipe();
  }
  return command;
}

CommandOutput Launch::run_and_gather(const Context& ctx) {
  CommandOutput output;
  Child child = run(ctx);
  if (error) return output;
  Gatherers gatherers;
  if (child.streams_[1].is_open()) gatherers.gather(child.streams_[1], output.out);
  if (child.streams_[2].is_open()) gatherers.gather(child.streams_[2], output.err);
  output.status = child.wait(error);  // if the context is done, that ends the child
  if (error) static_cast<void>(child.kill());
  if (!gatherers.wait(ctx)) gatherers.end_at(Clock::now() + kLastWords);
  const std::error_code gathered = gatherers.finish();
  if (!error) error = gathered;
  if (ctx.is_done() && (error || !output.status.success())) error = ctx.err();
  return output;
}

}  // namespace detail

CommandOutput Command::output(const Context& ctx, std::error_code& error) const {
  const Command command = detail::Launch::gathering(*this);
  detail::Launch launch(command);
  CommandOutput output = launch.run_and_gather(ctx);
  error = launch.error;
  return output;
}

CommandOutput Command::output(const Context& ctx) const {
  const Command command = detail::Launch::gathering(*this);
  detail::Launch launch(command);
  CommandOutput output = launch.run_and_gather(ctx);
  launch.check("output");
  return output;
}

CommandOutput Command::combined_output(const Context& ctx, std::error_code& error) const {
  Command command = *this;
  command.err = Stdio::to_stdout();
  return command.output(ctx, error);
}

CommandOutput Command::combined_output(const Context& ctx) const {
  Command command = *this;
  command.err = Stdio::to_stdout();
  return command.output(ctx);
}

}  // namespace weft::net
