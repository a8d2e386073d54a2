#include "process_launch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <set>
#include <string_view>

#include "child_state.hpp"
#include "last_error.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/net/signal.hpp"

namespace weft::net::detail {
namespace {

constexpr const char* kStdioNames[] = {" stdin", " stdout", " stderr"};
constexpr int kFirstFree = 3;

/// A file that holds the text. As a system call: not open, with errno.
OwnedDescriptor open_text(const std::string& text) {
  OwnedDescriptor file(::memfd_create("weft-stdin", MFD_CLOEXEC));
  if (!file.is_open()) return file;
  std::size_t written = 0;
  while (written < text.size()) {
    const ::ssize_t put = ::write(file.get(), text.data() + written, text.size() - written);
    if (put < 0 && errno != EINTR) return {};
    if (put > 0) written += static_cast<std::size_t>(put);
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

bool has_nul(const std::string& text) noexcept { return text.find('\0') != std::string::npos; }

/// Of a name that comes twice the last.
std::vector<std::string> unique_environment(const std::vector<std::string>& entries) {
  std::vector<std::string> kept;
  std::set<std::string_view> names;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (names.insert(std::string_view(*entry).substr(0, entry->find('='))).second) kept.push_back(*entry);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// What posix_spawn is told to do in the child. Remembers the first call that failed.
class SpawnPlan {
 public:
  SpawnPlan() {
    if (::posix_spawn_file_actions_init(&actions) != 0 || ::posix_spawnattr_init(&attributes) != 0)
      throw std::bad_alloc();
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }

  void change_directory(const std::string& path) {
    note(::posix_spawn_file_actions_addchdir_np(&actions, path.c_str()));
  }
  void copy(int from, int to) { note(::posix_spawn_file_actions_adddup2(&actions, from, to)); }
  void close_from(int first) { note(::posix_spawn_file_actions_addclosefrom_np(&actions, first)); }
  void reset_signals() {
    sigset_t none;
    sigset_t every;
    ::sigemptyset(&none);
    ::sigfillset(&every);
    note(::posix_spawnattr_setsigmask(&attributes, &none));
    note(::posix_spawnattr_setsigdefault(&attributes, &every));
    note(::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failed = 0;

 private:
  void note(int result) noexcept {
    if (failed == 0) failed = result;
  }
};

}  // namespace

OwnedDescriptor::~OwnedDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Child Launch::run(const Context& ctx) {
  check_kinds();
  error = ctx.err();
  if (error) return {};
  if (ignored(SIGCHLD)) {  // a child would be gone before we know it, and its number another's
    fail(" while SIGCHLD is ignored", std::make_error_code(std::errc::no_child_process));
    return {};
  }
  sweep_children();
  Child child;
  pid_t pid = -1;
  blocking([&] {
    if (prepare_texts() && open_files(child) && find()) pid = spawn();
  });
  if (error) return {};
  adopt(child, pid, ctx);
  return child;
}

void Launch::check(const char* call) const {
  if (!error) return;
  throw std::system_error(error,
                          "weft: net: Command::" + std::string(call) + " \"" + command_.program + "\"" + blamed_);
}

void Launch::check_kinds() const {
  if (command_.program.empty()) weft::detail::throw_panic("weft: net: Command: no program");
  const auto is = [](const Stdio& stdio, Kind kind) { return stdio.kind_ == kind; };
  if (is(command_.out, Kind::kText) || is(command_.err, Kind::kText))
    weft::detail::throw_panic("weft: net: Command: Stdio::text is for stdin");
  if (is(command_.in, Kind::kAppend)) weft::detail::throw_panic("weft: net: Command: Stdio::append is not for stdin");
  if (is(command_.in, Kind::kStdout) || is(command_.out, Kind::kStdout))
    weft::detail::throw_panic("weft: net: Command: Stdio::to_stdout is for stderr");
}

bool Launch::open_files(Child& child) {
  const Stdio* const wanted[] = {&command_.in, &command_.out, &command_.err};
  for (std::size_t which = 0; which < 3; ++which) {
    const Stdio& stdio = *wanted[which];
    if (stdio.kind_ == Kind::kInherit || stdio.kind_ == Kind::kStdout) continue;
    OwnedDescriptor file = open_file(stdio, which == 0, child.streams_[which]);
    // Above the numbers that the child gets them under: so none is overwritten before its turn.
    if (file.is_open() && file.get() < kFirstFree)
      file = OwnedDescriptor(::fcntl(file.get(), F_DUPFD_CLOEXEC, kFirstFree));
    if (!file.is_open()) {
      const bool has_path = stdio.kind_ == Kind::kFile || stdio.kind_ == Kind::kAppend;
      return fail(kStdioNames[which] + (has_path ? " \"" + stdio.text_ + "\"" : std::string()), last_error());
    }
    files_[which] = std::move(file);
  }
  return true;
}

OwnedDescriptor Launch::open_file(const Stdio& stdio, bool is_input, Stream& ours) {
  const int to_write = O_WRONLY | O_CREAT | O_CLOEXEC;
  switch (stdio.kind_) {
    case Kind::kPipe:
      return open_pipe(is_input, ours);
    case Kind::kText:
      return open_text(stdio.text_);
    case Kind::kFile:
      return OwnedDescriptor(::open(stdio.text_.c_str(), is_input ? O_RDONLY | O_CLOEXEC : to_write | O_TRUNC, 0666));
    case Kind::kAppend:
      return OwnedDescriptor(::open(stdio.text_.c_str(), to_write | O_APPEND, 0666));
    case Kind::kDescriptor:
      return OwnedDescriptor(::fcntl(stdio.fd_, F_DUPFD_CLOEXEC, kFirstFree));
    default:
      return OwnedDescriptor(::open("/dev/null", O_RDWR | O_CLOEXEC));
  }
}

/// The child's end; ours becomes a stream. As a system call: not open, with errno.
OwnedDescriptor Launch::open_pipe(bool is_input, Stream& ours) {
  std::array<int, 2> ends{};
  const int made =
      is_input ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) : ::pipe2(ends.data(), O_CLOEXEC);
  if (made != 0) return {};
  OwnedDescriptor theirs(ends[1]);
  if (is_input) ::shutdown(ends[0], SHUT_RD);  // nobody reads what it writes to its stdin
  try {
    ours = Stream(ends[0]);
  } catch (const std::system_error& refused) {
    errno = refused.code().value();
    return {};
  }
  return theirs;
}

bool Launch::prepare_texts() {
  arguments_ = command_.arguments;
  arguments_.insert(arguments_.begin(), command_.program);
  environment_ = command_.environment ? unique_environment(*command_.environment) : current_environment();
  const auto is_cut = [](const Stdio& stdio) { return stdio.kind_ != Kind::kText && has_nul(stdio.text_); };
  const bool has_end_within = is_cut(command_.in) || is_cut(command_.out) || is_cut(command_.err) ||
                              has_nul(command_.directory) ||
                              std::any_of(arguments_.begin(), arguments_.end(), has_nul) ||
                              std::any_of(environment_.begin(), environment_.end(), has_nul);
  return !has_end_within || fail(": a NUL within a text", std::make_error_code(std::errc::invalid_argument));
}

/// Looks at what a failed exec could not tell apart.
bool Launch::find() {
  const std::string& directory = command_.directory;
  struct stat found = {};
  if (!directory.empty() && ::stat(directory.c_str(), &found) != 0)
    return fail(" directory \"" + directory + "\"", last_error());
  if (!directory.empty() && !S_ISDIR(found.st_mode))
    return fail(" directory \"" + directory + "\"", std::make_error_code(std::errc::not_a_directory));
  path_ = command_.program;
  if (path_.find('/') != std::string::npos) return true;
  path_ = find_program(path_, error);
  return !error || fail(" in PATH", error);
}

pid_t Launch::spawn() {
  SpawnPlan plan;
  if (!command_.directory.empty()) plan.change_directory(command_.directory);
  for (int which = 0; which < 3; ++which) {
    if (files_[which].is_open()) plan.copy(files_[which].get(), which);
  }
  if (command_.err.kind_ == Kind::kStdout) plan.copy(STDOUT_FILENO, STDERR_FILENO);
  plan.close_from(kFirstFree);
  plan.reset_signals();
  pid_t pid = -1;
  if (plan.failed == 0) {
    const std::vector<char*> argv = pointers_to(arguments_);
    const std::vector<char*> envp = pointers_to(environment_);
    plan.failed = ::posix_spawn(&pid, path_.c_str(), &plan.actions, &plan.attributes, argv.data(), envp.data());
  }
  if (plan.failed != 0) fail("", {plan.failed, std::system_category()});
  for (OwnedDescriptor& file : files_) file = {};  // or a pipe would not end with the child
  return pid;
}

void Launch::adopt(Child& child, pid_t pid, const Context& ctx) {
  const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    fail(" pidfd_open", last_error());
    if (error == std::errc::no_such_process) return;  // somebody's waitpid(-1) was faster
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return;
  }
  child.state_ = std::make_shared<ChildState>(pid, pidfd);
  if (ctx == nullptr) return;
  child.state_->context_watch = after_func(ctx, [state = child.state_, grace = command_.grace] { state->end(grace); });
}

}  // namespace weft::net::detail
