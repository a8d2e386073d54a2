#include "uncaught.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <typeinfo>

#include "sched.hpp"
#include "weft/error.hpp"

namespace weft {
namespace detail {
namespace {

std::atomic<pid_t> reporter{0};  // the thread that has begun a report

/// One report, then the end. A second one waits for that end.
[[noreturn]] void report_and_exit(const std::string& text) noexcept {
  begin_report();
  // What the program has printed comes before the report, if nobody is in the middle of printing.
  if (ftrylockfile(stdout) == 0) {
    fflush_unlocked(stdout);
    funlockfile(stdout);
  }
  const char* at = text.data();
  std::size_t left = text.size();
  while (left > 0) {
    const ssize_t n = write(STDERR_FILENO, at, left);
    if (n <= 0) break;
    at += n;
    left -= static_cast<std::size_t>(n);
  }
  end_process();
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return status == 0 ? plain.get() : name;
}

/// Continuation lines are indented, so that a report's structure survives any text.
std::string indented(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += '\t';
  }
  return out;
}

struct Described {
  std::string type;
  std::string text;
};

/// Of the exception that is being handled.
Described describe_current_exception() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  Described described{type != nullptr ? demangle(type->name()) : "foreign exception", ""};
  try {
    throw;
  } catch (const std::exception& error) {
    const char* what = error.what();
    described.text = what != nullptr ? what : described.type;
  } catch (const std::string& text) {
    described.text = text;
  } catch (const char* text) {
    described.text = text != nullptr ? text : described.type;
  } catch (...) {
    described.text = described.type;
  }
  return described;
}

}  // namespace

void await_reports() noexcept {
  while (reporter.load(std::memory_order_acquire) != 0) pause();
}

void begin_report() noexcept {
  const pid_t self = gettid();
  pid_t nobody = 0;
  if (reporter.compare_exchange_strong(nobody, self, std::memory_order_acq_rel) || nobody == self) return;
  for (;;) pause();
}

void end_report() noexcept { reporter.store(0, std::memory_order_release); }

void end_process() noexcept {
  const char* traceback = std::getenv("WEFT_TRACEBACK");
  if (traceback != nullptr && std::strcmp(traceback, "crash") == 0) std::abort();
  _exit(2);
}

std::string describe_address(const void* address) {
  Dl_info info;
  char offset[32];
  if (address == nullptr || dladdr(address, &info) == 0) return "unknown";
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (info.dli_sname != nullptr) {
    std::snprintf(offset, sizeof offset, "+0x%zx", at - reinterpret_cast<std::uintptr_t>(info.dli_saddr));
    return demangle(info.dli_sname) + offset;
  }
  // Not exported (link with -rdynamic for names): what addr2line wants.
  std::snprintf(offset, sizeof offset, "+0x%zx", at - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
  const char* slash = std::strrchr(info.dli_fname, '/');
  return std::string(slash != nullptr ? slash + 1 : info.dli_fname) + offset;
}

void report_uncaught(Scheduler& scheduler, Task& task) noexcept {
  if (const OnUncaught handler = scheduler.options.on_uncaught) {
    handler(Scheduler::describe(task), std::current_exception());
    return;
  }
  const GoroutineInfo goroutine = Scheduler::describe(task);
  const Described error = describe_current_exception();
  report_and_exit("panic: " + indented(error.text) + "\n\ngoroutine " + std::to_string(goroutine.id) +
                  (goroutine.name.empty() ? "" : " \"" + goroutine.name + "\"") + " [running]:\n\texception of type " +
                  error.type + "\n\tcreated by " + goroutine.spawn_site + "\n");
}

void fatal(std::string_view what) noexcept { report_and_exit("fatal error: " + std::string(what) + "\n"); }

void throw_panic(const char* what) { throw Panic(what); }
void throw_runtime_panic(const char* what) { throw RuntimePanic(what); }

}  // namespace detail
}  // namespace weft
