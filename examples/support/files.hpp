// Files for the examples: which ones lie under a folder, and what is in one of them.
//
// Nothing here throws for trouble with a file. An error is a string such as "cannot open a/b: Permission denied", and
// an empty string is success, as Go's nil error is.

#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace examples {

/// A file name may hold any byte; on a terminal a control character would be obeyed. Shows it as \x1b instead.
inline std::string printable(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else {
      shown += {'\\', 'x', kHex[byte >> 4], kHex[byte & 0xf]};
    }
  }
  return shown;
}

inline std::string cannot(std::string_view verb, std::string_view path, std::string_view reason) {
  return "cannot " + std::string(verb) + " " + printable(path) + ": " + std::string(reason);
}

inline std::string cannot(std::string_view verb, std::string_view path, int error_number) {
  return cannot(verb, path, std::generic_category().message(error_number));
}

struct FailedFolder {
  std::string path;
  std::string error;
};

struct Listing {
  std::vector<std::string> files;  // every entry that is not a folder, sorted by name
  std::vector<FailedFolder> failed_folders;
};

/// Lists the files under `root`, but for what the project's own folder holds that is not source.
/// Symbolic links are listed when they lead to a file or nowhere; a link to a folder is neither listed nor followed.
inline Listing list_files(const std::string& root, bool sources_only) {
  namespace fs = std::filesystem;
  Listing listing;
  // One folder is open at a time, so a deep tree needs no more descriptors than a flat one.
  std::vector<fs::path> folders{root};
  while (!folders.empty()) {
    const fs::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;  // an entry that cannot be looked at is listed; opening it will say why
      if (it->symlink_status(ignored).type() == fs::file_type::directory) {
        const std::string name = it->path().filename().string();
        const bool is_built = name == ".git" || name.starts_with("build");
        if (!(sources_only && folder == root && is_built)) {
          folders.push_back(it->path());
        }
      } else if (!it->is_directory(ignored)) {
        listing.files.push_back(it->path().string());
      }
    }
    if (error) {
      listing.failed_folders.push_back({folder.string(), cannot("list", folder.string(), error.value())});
    }
  }
  std::sort(listing.files.begin(), listing.files.end());
  return listing;
}

/// Passes the content of the file to `use_block(std::span<const std::byte>)`, block by block, and returns the error.
/// It blocks the OS thread, as reading a local file does in any language; it never parks the goroutine.
///
/// Not inlined: errno lives at an address that belongs to the thread, and compilers may keep that address in a
/// register. A caller that parks may go on as another thread, so the address must not outlive this call.
template <class F>
[[gnu::noinline]] std::string read_file(const std::string& path, F&& use_block) {
  // Looking before opening: to open a device or a pipe can have effects, or wait for ever.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return cannot("open", path, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return cannot("open", path, "not a regular file");
  }
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (opened < 0) {
    return cannot("open", path, errno);
  }
  const struct File {
    int fd;
    ~File() { ::close(fd); }
  } file{opened};

  // On the heap: a block on the stack would stay resident in every stack that was used once.
  constexpr std::size_t kBlockBytes = 64 * 1024;
  const auto block = std::make_unique<std::byte[]>(kBlockBytes);
  for (;;) {
    const ssize_t count = ::read(file.fd, block.get(), kBlockBytes);
    if (count == 0) {
      return {};
    }
    if (count > 0) {
      use_block(std::span<const std::byte>(block.get(), static_cast<std::size_t>(count)));
    } else if (errno != EINTR) {
      return cannot("read", path, errno);
    }
  }
}

}  // namespace examples
