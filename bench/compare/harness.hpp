// What the C++ programs of the comparison share: how a scenario is written, checked, chosen and reported. No runtime in it.
#pragma once

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace compare {

using std::chrono::nanoseconds;
using Int = std::int64_t;  // what Go's int is on this kind of machine

/// What one scenario found out; ops is the number of operations that elapsed is divided by.
struct Result {
  Int ops;
  nanoseconds elapsed;
  double bytes_per_op = 0;  // resident; 0: not measured
};

/// One of the list that a program has. Some are of one size only; the others may be given another one on the command line.
class Scenario {
 public:
  constexpr Scenario(std::string_view called, Result (*function)()) : name_(called), run_(function) {}
  constexpr Scenario(std::string_view called, Result (*function)(Int), Int size)
      : name_(called), sized_(function), size_(size) {}

  std::string_view name() const { return name_; }
  Result run() const { return sized_ != nullptr ? sized_(size_) : run_(); }
  /// `text` is digits. False if they are not, or the scenario has one size only.
  bool resize(std::string_view text) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size_);
    return sized_ != nullptr && error == std::errc() && end == text.data() + text.size() && size_ > 0;
  }

 private:
  std::string_view name_;
  Result (*run_)() = nullptr;
  Result (*sized_)(Int size) = nullptr;
  Int size_ = 0;
};

/// A program's lists, one after the other.
inline std::vector<Scenario> join(std::initializer_list<std::span<const Scenario>> lists) {
  std::vector<Scenario> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

class Stopwatch {
 public:
  nanoseconds elapsed() const { return std::chrono::steady_clock::now() - start_; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Ends the program when a scenario computed something wrong: a fast wrong answer is not a measurement.
inline void check(bool ok, const char* what, Int got) {
  if (!ok) throw std::runtime_error(std::string("wrong result: ") + what + " " + std::to_string(got));
}

/// 0 + 1 + ... + n-1, what a consumer of the values 0..n-1 has to arrive at.
constexpr Int sum_to(Int n) { return n * (n - 1) / 2; }

/// What the process has in memory now.
inline Int resident_bytes() {
  Int total_pages = 0;
  Int resident_pages = 0;
  std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
  check(resident_pages > 0, "resident pages", resident_pages);
  return resident_pages * sysconf(_SC_PAGESIZE);
}

/// One runtime's program.
struct Program {
  const char* name;                 // also the runtime's, without "_bench"
  std::string version;              // what the figures have to be read with
  const char* processors_variable;  // of the environment
  std::vector<Scenario> scenarios;
  /// Runs a scenario where the runtime's code belongs; stores how many processors it had.
  Result (*run)(const Scenario& scenario, unsigned& processors);
};

/// One measurement as compare.py reads it.
inline void measure(const Program& program, const Scenario& scenario) {
  unsigned processors = 0;
  const Result r = program.run(scenario, processors);
  const std::string_view name = program.name;
  const std::string_view runtime = name.substr(0, name.rfind("_bench"));
  std::printf(R"({"runtime":"%.*s","scenario":"%s","ops":%lld,"ns_per_op":%.3f)", static_cast<int>(runtime.size()),
              runtime.data(), scenario.name().data(), static_cast<long long>(r.ops),
              static_cast<double>(r.elapsed.count()) / static_cast<double>(r.ops));
  if (r.bytes_per_op > 0) std::printf(R"(,"bytes_per_op":%.1f)", r.bytes_per_op);
  std::printf(R"(,"processors":%u})"
              "\n",
              processors);
  std::fflush(stdout);
}

inline void print_usage(std::FILE* out, const Program& program) {
  std::fprintf(out,
               "usage: %s [--list | --version | scenario[=size]...]\n"
               "Runs the scenarios (without names: all) and prints one JSON line each. $%s sets the processors.\n",
               program.name, program.processors_variable);
}

/// The scenario that the argument names, with the size it asks for: `yield`, `yield=1000`. Throws std::invalid_argument.
inline Scenario find(const Program& program, std::string_view argument) {
  const std::string_view name = argument.substr(0, argument.find('='));
  for (Scenario scenario : program.scenarios) {
    if (scenario.name() != name) continue;
    if (name.size() < argument.size() && !scenario.resize(argument.substr(name.size() + 1))) {
      throw std::invalid_argument(std::string(argument) + ": no such size, or the scenario has only one");
    }
    return scenario;
  }
  throw std::invalid_argument("no scenario \"" + std::string(name) + "\" (see --list)");
}

/// What main() returns.
inline int run_program(int argc, char** argv, const Program& program) {
  std::vector<Scenario> chosen;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string_view arg = argv[i];
      if (arg == "-h" || arg == "--help") {
        print_usage(stdout, program);
        return 0;
      }
      if (arg == "--list") {
        for (const Scenario& s : program.scenarios) std::puts(s.name().data());
        return 0;
      }
      if (arg == "--version") {
        std::puts(program.version.c_str());
        return 0;
      }
      chosen.push_back(find(program, arg));
    }
    for (const Scenario& scenario : chosen.empty() ? program.scenarios : chosen) measure(program, scenario);
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "%s: %s\n", program.name, e.what());
    print_usage(stderr, program);
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", program.name, e.what());
    return 1;
  }
  return 0;
}

}  // namespace compare
