#include "trace_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

#include "keep_errno.hpp"
#include "sched.hpp"
#include "trace_json.hpp"

namespace weft::detail {
namespace {

[[noreturn]] void fail(int error, const char* call, const std::string& path) {
  throw std::system_error(error, std::generic_category(), "weft: " + std::string(call) + ": " + path);
}

class TraceOutput {
 public:
  TraceOutput(const char* call, const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(errno, call, path);
  }
  TraceOutput(const TraceOutput&) = delete;
  TraceOutput& operator=(const TraceOutput&) = delete;
  ~TraceOutput() { close(fd_); }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  const int fd_;
};

class FdSink final : public TextSink {
 public:
  FdSink(int fd, const char* call, const std::string& path) : fd_(fd), call_(call), path_(path) {}
  void take(std::string_view text) override {
    while (!text.empty()) {
      const ssize_t n = write(fd_, text.data(), text.size());
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
      if (n < 0 && errno != EINTR) fail(errno, call_, path_);
    }
  }

 private:
  const int fd_;
  const char* const call_;
  const std::string& path_;
};

struct WriteJob {
  const TraceTimeline& timeline;
  FdSink& sink;
  std::exception_ptr error;
};

void do_job(void* argument) noexcept {
  auto& job = *static_cast<WriteJob*>(argument);
  try {
    write_trace_json(job.timeline, job.sink);
  } catch (...) {
    job.error = std::current_exception();
  }
}

std::string unfinished(const std::string& path) { return path + ".part"; }

}  // namespace

std::string with_process_number(std::string path) {
  if (const std::size_t at = path.find("%p"); at != std::string::npos) path.replace(at, 2, std::to_string(getpid()));
  return path;
}

void write_trace(const TraceTimeline& timeline, int fd, const char* call, const std::string& path) {
  const KeepErrno keep_errno;
  FdSink sink(fd, call, path);
  WriteJob job{timeline, sink, nullptr};
  on_roomy_stack(&do_job, &job);
  if (job.error) std::rethrow_exception(job.error);
}

void write_trace(const TraceTimeline& timeline, const char* call, const std::string& path) {
  const KeepErrno keep_errno;
  const TraceOutput file(call, path);
  write_trace(timeline, file.fd(), call, path);
}

void replace_trace(const TraceTimeline& timeline, const char* call, const std::string& path) {
  const KeepErrno keep_errno;
  const std::string part = unfinished(path);
  write_trace(timeline, call, part);
  if (std::rename(part.c_str(), path.c_str()) != 0) fail(errno, call, path);
}

void check_trace_path(const char* call, const std::string& path) {
  const KeepErrno keep_errno;
  const std::string part = unfinished(path);
  { const TraceOutput file(call, part); }
  unlink(part.c_str());
}

}  // namespace weft::detail
