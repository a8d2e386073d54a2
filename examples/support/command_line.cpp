#include "command_line.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

namespace examples {

namespace {

template <class T>
void add_number(CLI::App& app, const char* name, T& value, const char* help, T least, T most) {
  auto* option = app.add_option(name, value, help)->check(CLI::Range(least, most));
  if (value >= least && value <= most) option->capture_default_str();
}

void allow_only(CLI::Option* option, const std::vector<std::string>& choices) {
  if (!choices.empty()) option->check(CLI::IsMember(choices));
}

}  // namespace

CommandLine::CommandLine(const char* name, const char* what) : app_(std::make_unique<CLI::App>(what, name)) {}

CommandLine::~CommandLine() = default;

void CommandLine::number(const char* name, unsigned& value, const char* help, unsigned least, unsigned most) {
  add_number(*app_, name, value, help, least, most);
}

void CommandLine::number(const char* name, std::uint64_t& value, const char* help, std::uint64_t least,
                         std::uint64_t most) {
  add_number(*app_, name, value, help, least, most);
}

void CommandLine::numbers(const char* name, std::vector<std::uint64_t>& values, const char* help, std::uint64_t least,
                          std::uint64_t most) {
  app_->add_option(name, values, help)->check(CLI::Range(least, most));
}

void CommandLine::flag(const char* name, bool& value, const char* help) { app_->add_flag(name, value, help); }

void CommandLine::folder(const char* name, std::string& value, const char* help) {
  app_->add_option(name, value, help)->check(CLI::ExistingDirectory);
}

void CommandLine::text(const char* name, std::string& value, const char* help,
                       const std::vector<std::string>& choices) {
  allow_only(app_->add_option(name, value, help), choices);
}

void CommandLine::texts(const char* name, std::vector<std::string>& values, const char* help,
                        const std::vector<std::string>& choices) {
  allow_only(app_->add_option(name, values, help), choices);
}

bool CommandLine::was_given(const char* name) const { return app_->count(name) > 0; }

int CommandLine::run(int argc, char** argv, const std::function<int()>& program) {
  const std::string name = app_->get_name();
  try {
    app_->parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app_->help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s\n%sRun '%s --help' for what each option does.\n", name.c_str(), error.what(),
                 CLI::Formatter().make_usage(app_.get(), name).c_str(), name.c_str());
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
