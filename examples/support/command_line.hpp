// The frame of every example: parse the command line, run, turn trouble into an exit status.
//
// 0: done (also --help). 1: the work failed, with a line on stderr that says why. 2: a bad argument, with the usage.
//
// A thin layer over CLI11, which is so compiled once, in command_line.cpp, and not with every example.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace examples {

inline constexpr int kFailed = 1;
inline constexpr int kBadArgument = 2;

/// What an example can be told. An option's name is "--name", an argument's has no dashes. What an option writes to holds
/// its default, which the help shows; a number outside of its own range says that there is none to show.
class CommandLine {
 public:
  CommandLine(const char* name, const char* what);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
  ~CommandLine();

  void number(const char* name, unsigned& value, const char* help, unsigned least, unsigned most);
  void number(const char* name, std::uint64_t& value, const char* help, std::uint64_t least, std::uint64_t most);
  void numbers(const char* name, std::vector<std::uint64_t>& values, const char* help, std::uint64_t least,
               std::uint64_t most);
  void flag(const char* name, bool& value, const char* help);
  void folder(const char* name, std::string& value, const char* help);
  /// Any text, or one of `choices` if there are any.
  void text(const char* name, std::string& value, const char* help, const std::vector<std::string>& choices = {});
  void texts(const char* name, std::vector<std::string>& values, const char* help,
             const std::vector<std::string>& choices = {});

  bool was_given(const char* name) const;

  /// Reads the arguments, then returns the exit status that `program` returns.
  int run(int argc, char** argv, const std::function<int()>& program);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace examples
