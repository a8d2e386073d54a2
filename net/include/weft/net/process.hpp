#pragma once

// Child processes: started, talked to over pipes and waited for, and no thread blocks meanwhile. Go: os/exec.

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "weft/context.hpp"
#include "weft/net/stream.hpp"

namespace weft::net {

namespace detail {
class Launch;
struct ChildState;
}  // namespace detail

/// How a process has ended. Go: os.ProcessState.
struct ExitStatus {
  int code = -1;   ///< what it exited with; -1: a signal has killed it
  int signal = 0;  ///< that signal; 0: none
  bool has_core = false;

  [[nodiscard]] bool success() const noexcept { return code == 0; }
  /// "exit status 3", "signal: killed".
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

/// What one of a child's three standard files is.
class Stdio {
 public:
  /// As null(); Command::output() takes what comes.
  Stdio() noexcept = default;
  static Stdio null() { return Stdio(Kind::kNull); }
  /// The caller's own.
  static Stdio inherit() { return Stdio(Kind::kInherit); }
  /// The other end is a Stream of the Child's. Of stdin it is a socket, so that a write to a child that is gone is an
  /// error, and no SIGPIPE; such a one cannot be opened again as /dev/stdin.
  static Stdio pipe() { return Stdio(Kind::kPipe); }
  /// For stdin: all that there is to read.
  static Stdio text(std::string text) { return Stdio(Kind::kText, std::move(text)); }
  /// For stdin to read from; else made anew, or truncated. Relative to the caller's directory.
  static Stdio file(std::string path) { return Stdio(Kind::kFile, std::move(path)); }
  /// Made if it is not there, and written at its end.
  static Stdio append(std::string path) { return Stdio(Kind::kAppend, std::move(path)); }
  /// Some open file; stays the caller's.
  static Stdio descriptor(int fd) {
    Stdio stdio(Kind::kDescriptor);
    stdio.fd_ = fd;
    return stdio;
  }
  /// For stderr: where stdout goes.
  static Stdio to_stdout() { return Stdio(Kind::kStdout); }

 private:
  friend class detail::Launch;
  enum class Kind : unsigned char { kUnset, kNull, kInherit, kPipe, kText, kFile, kAppend, kDescriptor, kStdout };
  explicit Stdio(Kind kind, std::string text = {}) : kind_(kind), text_(std::move(text)) {}

  Kind kind_ = Kind::kUnset;
  std::string text_;
  int fd_ = -1;
};

/// A process that was started. Safe from: several goroutines and threads at once; moving and destroying are for one owner.
///
/// One that is destroyed before anybody has waited for it goes on. It is reaped, so that no zombie stays, when the next child
/// is started or destroyed after its end. Its streams are closed. Go: exec.Cmd after Start.
class Child {
 public:
  Child() noexcept = default;
  Child(Child&&) noexcept = default;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] int id() const;

  /// The caller's ends of what Command says is a pipe; Panic for anything else. A child that reads to the end of stdin ends
  /// only after stdin_stream().close(); one that writes more than a pipe holds (64 KiB) only if somebody reads.
  [[nodiscard]] Stream& stdin_stream();
  [[nodiscard]] Stream& stdout_stream();
  [[nodiscard]] Stream& stderr_stream();

  /// Waits until it has ended; the same answer each time. The streams stay, with what they still hold. If the context is
  /// done before: its error, and the child goes on. If somebody else's waitpid(-1) has taken the status away: ECHILD, as from
  /// start() while SIGCHLD is ignored. Go: Cmd.Wait.
  ExitStatus wait(const Context& ctx, std::error_code& error);
  ExitStatus wait(std::error_code& error) { return wait(Context(), error); }
  ExitStatus wait(const Context& ctx);
  ExitStatus wait() { return wait(Context()); }

  /// Sends a signal. ESRCH: it has ended, and somebody has waited for it. Go: Process.Kill, Process.Signal.
  std::error_code kill(int signal = SIGKILL);

 private:
  friend class detail::Launch;
  [[nodiscard]] detail::ChildState& state() const;
  Stream& stream(int which);
  void abandon() noexcept;

  std::shared_ptr<detail::ChildState> state_;
  Stream streams_[3];
};

/// What Command::output() has gathered.
struct CommandOutput {
  ExitStatus status;
  std::string out;
  std::string err;
};

/// A program to run: Command{.program = "sort", .arguments = {"-n"}}. May be used again and again. Go: exec.Cmd.
///
/// The child gets its three standard files and no other; no signal is blocked or ignored in it.
struct Command {
  /// With a slash: a path, relative to `directory`. Else a name that is looked for in the caller's PATH; what PATH says of
  /// relative directories is not followed. Also the child's argv[0].
  std::string program;
  /// Those after argv[0].
  std::vector<std::string> arguments = {};
  /// "NAME=value"; of a name that comes twice the last. nullopt: the caller's.
  std::optional<std::vector<std::string>> environment = std::nullopt;
  /// Where it starts. Empty: where the caller is.
  std::string directory = {};
  Stdio in = {};
  Stdio out = {};
  Stdio err = {};
  /// A context that ends the child sends SIGTERM, and SIGKILL this much later; 0: SIGKILL at once.
  std::chrono::nanoseconds grace{0};

  /// Starts it. Blocks: while the program is loaded (weft::blocking). When the context is done, the child is killed, whether
  /// anybody waits for it or not; if it is done already, nothing is started, and the error is the context's. Other errors are
  /// the system's: what() of the exception says whether the program, the directory or a file is to blame.
  /// Throws: Panic without a program, or if one of the three files is of a kind that is not for it.
  /// Go: Cmd.Start, with exec.CommandContext.
  [[nodiscard]] Child start(const Context& ctx, std::error_code& error) const;
  [[nodiscard]] Child start(std::error_code& error) const { return start(Context(), error); }
  [[nodiscard]] Child start(const Context& ctx) const;
  [[nodiscard]] Child start() const { return start(Context()); }

  /// Runs it to its end, and gathers what it writes to stdout and stderr, as far as they are not sent elsewhere. An exit
  /// status that is not 0 is no error: look at it. Ends when the child has ended and its output has: a process that the child
  /// has left behind may keep that open. If the context is done before that: its error, with what there was so far.
  /// Throws: Panic also if stdin is a pipe, which nobody would write to. Go: Cmd.Output.
  CommandOutput output(const Context& ctx, std::error_code& error) const;
  CommandOutput output(std::error_code& error) const { return output(Context(), error); }
  CommandOutput output(const Context& ctx) const;
  CommandOutput output() const { return output(Context()); }

  /// The same with stderr sent to stdout: both are in `out`, in the order in which they were written. Go: Cmd.CombinedOutput.
  CommandOutput combined_output(const Context& ctx, std::error_code& error) const;
  CommandOutput combined_output(std::error_code& error) const { return combined_output(Context(), error); }
  CommandOutput combined_output(const Context& ctx) const;
  CommandOutput combined_output() const { return combined_output(Context()); }
};

/// The path of a program of that name, as Command looks for it. Go: exec.LookPath.
std::string find_program(std::string_view name, std::error_code& error);

/// The caller's environment, to be changed for a Command. Go: os.Environ.
std::vector<std::string> current_environment();

}  // namespace weft::net
