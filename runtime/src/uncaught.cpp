#include "uncaught.hpp"

#include <cxxabi.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <typeinfo>

#include "sched.hpp"
#include "stack_text.hpp"
#include "symbols.hpp"
#include "weft/error.hpp"

namespace weft {
namespace detail {
namespace {

std::atomic<pid_t> reporter{0};  // the thread that has begun a report

[[noreturn]] void finish_report(const std::string& text) noexcept {
  // What the program has printed comes before the report, if nobody is in the middle of printing.
  if (ftrylockfile(stdout) == 0) {
    fflush_unlocked(stdout);
    funlockfile(stdout);
  }
  write_all(STDERR_FILENO, text);
  end_process();
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

/// Of the exception that is being handled; the name of its type if it says nothing.
std::string text_of_current_exception(const std::string& type) {
  try {
    throw;
  } catch (const std::exception& error) {
    const char* what = error.what();
    return what != nullptr ? what : type;
  } catch (const std::string& text) {
    return text;
  } catch (const char* text) {
    return text != nullptr ? text : type;
  } catch (...) {
    return type;
  }
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

namespace {

/// What takes more stack than a goroutine may have.
struct Description {
  const Task* task;
  const Frames* thrown_at;
  GoroutineInfo goroutine;
  std::string stack;  // indented
};

void describe(void* argument) {
  auto& d = *static_cast<Description*>(argument);
  d.goroutine = Scheduler::describe(*d.task);
  if (d.thrown_at == nullptr) return;
  StackText text;
  const std::span pcs(d.thrown_at->pcs, d.thrown_at->count);
  d.goroutine.stack = text.lines(pcs, d.thrown_at->is_cut, "");
  d.stack = text.lines(pcs, d.thrown_at->is_cut, "\t");
}

}  // namespace

void report_uncaught(Scheduler& scheduler, Task& task, const Frames* thrown_at) noexcept {
  Description d{&task, thrown_at, {}, {}};
  if (const OnUncaught handler = scheduler.options.on_uncaught) {
    on_roomy_stack(&describe, &d);
    handler(d.goroutine, std::current_exception());
    return;
  }
  const std::type_info* type = abi::__cxa_current_exception_type();
  const std::string type_name = type != nullptr ? demangle(type->name()) : "foreign exception";
  const std::string text = text_of_current_exception(type_name);  // what() may yield
  // Looking names up takes its time: main may return meanwhile, for the goroutine's destructors have run (PAN-3).
  begin_report();
  on_roomy_stack(&describe, &d);
  finish_report("panic: " + indented(text) + "\n\ngoroutine " + std::to_string(d.goroutine.id) +
                (d.goroutine.name.empty() ? "" : " \"" + d.goroutine.name + "\"") +
                " [running]:\n\texception of type " + type_name + "\n" + d.stack + "\tcreated by " +
                d.goroutine.spawn_site + "\n");
}

void fatal(std::string_view what) noexcept {
  begin_report();
  finish_report("fatal error: " + std::string(what) + "\n");
}

void throw_panic(const char* what) { throw Panic(what); }
void throw_runtime_panic(const char* what) { throw RuntimePanic(what); }

}  // namespace detail
}  // namespace weft
