#pragma once

// One start of a Command.
//
// Every descriptor made here is close-on-exec from its birth; the child gets copies under 0, 1 and 2, and nothing else.

#include <sys/types.h>

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "weft/context.hpp"
#include "weft/net/process.hpp"

namespace weft::net::detail {

class OwnedDescriptor {
 public:
  OwnedDescriptor() noexcept = default;
  explicit OwnedDescriptor(int fd) noexcept : fd_(fd) {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedDescriptor& operator=(OwnedDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedDescriptor();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class Launch {
 public:
  explicit Launch(const Command& command) noexcept : command_(command) {}

  /// A child, unless there is an error.
  Child run(const Context& ctx);
  /// Command::output(), for a command that gathering() has made fit for it.
  CommandOutput run_and_gather(const Context& ctx);
  static Command gathering(Command command);
  /// Throws it, if there is one. `call`: of Command's.
  void check(const char* call) const;

  std::error_code error;

 private:
  using Kind = Stdio::Kind;

  bool fail(std::string blamed, const std::error_code& why) {
    error = why;
    blamed_ = std::move(blamed);
    return false;
  }
  void check_kinds() const;
  bool open_files(Child& child);
  OwnedDescriptor open_file(const Stdio& stdio, bool is_input, Stream& ours);
  OwnedDescriptor open_pipe(bool is_input, Stream& ours);
  bool prepare_texts();
  bool find();
  pid_t spawn();
  void adopt(Child& child, pid_t pid, const Context& ctx);

  const Command& command_;
  std::string blamed_;  // for the error: " stdin \"path\""
  OwnedDescriptor files_[3];
  std::string path_;
  std::vector<std::string> arguments_;
  std::vector<std::string> environment_;
};

}  // namespace weft::net::detail
