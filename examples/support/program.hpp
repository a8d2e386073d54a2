// The frame of every example: parse the command line, run, turn trouble into an exit status.
//
// 0: done (also --help). 1: the work failed, with a line on stderr that says why. 2: a bad argument, with the usage.

#pragma once

#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

namespace examples {

inline constexpr int kFailed = 1;
inline constexpr int kBadArgument = 2;

/// Parses the command line into what `app` was told about, then returns the exit status that `program` returns.
template <class F>
int run_program(CLI::App& app, int argc, char** argv, F&& program) {
  const std::string name = app.get_name();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s\n%sRun '%s --help' for what each option does.\n", name.c_str(), error.what(),
                 CLI::Formatter().make_usage(&app, name).c_str(), name.c_str());
    return kBadArgument;
  }

  try {
    const int status = program();
    // A full disk behind a redirected stdout shows only here.
    if (std::fflush(stdout) != 0) {
      std::fprintf(stderr, "%s: cannot write the output: %s\n", name.c_str(),
                   std::generic_category().message(errno).c_str());
      return kFailed;
    }
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
    return kFailed;
  }
}

}  // namespace examples
