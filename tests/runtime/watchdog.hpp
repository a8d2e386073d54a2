#pragma once

// A test that may hang when it has found a bug says so and ends the program, instead of waiting for the suite's limit.

#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstring>

#include "../support/support.hpp"

namespace weft::test {

class Watchdog {
 public:
  /// `suspicion`: what it means if the scope lasts longer than `seconds` (more under sanitizers and chaos).
  explicit Watchdog(const char* suspicion, unsigned seconds = 120) {
    text() = suspicion;
    std::signal(SIGALRM, &bark);
    ::alarm(seconds * (kSanitized ? 4 : 1) * (chaos() ? 2 : 1));
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    ::alarm(0);
    std::signal(SIGALRM, SIG_DFL);
  }

 private:
  static const char*& text() {
    static const char* suspicion = "";
    return suspicion;
  }
  static void say(const char* part) { static_cast<void>(::write(STDERR_FILENO, part, std::strlen(part)) < 0); }
  static void bark(int) {
    say("\nWATCHDOG: the test hangs: ");
    say(text());
    say("\n");
    ::_exit(124);
  }
};

}  // namespace weft::test
