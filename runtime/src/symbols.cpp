#include "symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace weft::detail {
namespace {

using Header = ElfW(Ehdr);
using Section = ElfW(Shdr);
using SymbolEntry = ElfW(Sym);

class File {
 public:
  explicit File(const char* path) noexcept : fd_(open(path, O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  /// False if the file is shorter.
  bool read(void* out, std::size_t size, std::uint64_t offset) const noexcept {
    auto* at = static_cast<std::byte*>(out);
    while (size > 0) {
      const ssize_t n = pread(fd_, at, size, static_cast<off_t>(offset));
      if (n <= 0) return false;
      at += n;
      offset += static_cast<std::uint64_t>(n);
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
  /// Empty if it is not in the file (or absurdly large).
  template <class T>
  std::vector<T> read_array(std::uint64_t bytes, std::uint64_t offset) const {
    constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30U;
    if (bytes > kMostBytes) return {};
    std::vector<T> out(bytes / sizeof(T));
    if (!read(out.data(), out.size() * sizeof(T), offset)) out.clear();
    return out;
  }

 private:
  int fd_;
};

/// The functions of one file, by address.
class SymbolTable {
 public:
  explicit SymbolTable(const char* path) {
    const File file(path);
    Header header;
    if (!file.read(&header, sizeof header, 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        header.e_shentsize != sizeof(Section)) {
      return;
    }
    const auto sections = file.read_array<Section>(std::uint64_t{header.e_shnum} * sizeof(Section), header.e_shoff);
    // The full table; a stripped file has that of its exported functions only.
    if (!load(file, sections, SHT_SYMTAB)) load(file, sections, SHT_DYNSYM);
  }

  /// The name of the function that covers the address (as the file counts), and where that begins.
  [[nodiscard]] const char* find(std::uintptr_t address, std::uintptr_t& begin) const noexcept {
    auto after = std::upper_bound(functions_.begin(), functions_.end(), address,
                                  [](std::uintptr_t a, const Function& f) { return a < f.begin; });
    if (after == functions_.begin()) return nullptr;
    const Function& f = *--after;
    if (f.size != 0 && address - f.begin >= f.size) return nullptr;
    begin = f.begin;
    return names_.data() + f.name;
  }

 private:
  struct Function {
    std::uintptr_t begin;
    std::uint32_t size;  // 0: up to the next one (written in assembly)
    std::uint32_t name;  // offset in names_
  };

  bool load(const File& file, const std::vector<Section>& sections, std::uint32_t type) {
    const auto table =
        std::find_if(sections.begin(), sections.end(), [type](const Section& s) { return s.sh_type == type; });
    if (table == sections.end() || table->sh_link >= sections.size()) return false;
    const Section& strings = sections[table->sh_link];
    names_ = file.read_array<char>(strings.sh_size, strings.sh_offset);
    if (names_.empty()) return false;
    names_.back() = '\0';
    for (const SymbolEntry& entry : file.read_array<SymbolEntry>(table->sh_size, table->sh_offset)) {
      const unsigned kind = entry.st_info & 0xfU;
      if ((kind != STT_FUNC && kind != STT_GNU_IFUNC) || entry.st_shndx == SHN_UNDEF || entry.st_name >= names_.size())
        continue;
      functions_.push_back({static_cast<std::uintptr_t>(entry.st_value),
                            static_cast<std::uint32_t>(std::min<std::uint64_t>(entry.st_size, UINT32_MAX)),
                            entry.st_name});
    }
    // Of several names for one address the last is found: one with a size, and of those the shortest (compilers make aliases by
    // appending to a name).
    std::sort(functions_.begin(), functions_.end(), [this](const Function& a, const Function& b) {
      if (a.begin != b.begin) return a.begin < b.begin;
      if (a.size != b.size) return a.size < b.size;
      return std::strlen(&names_[a.name]) > std::strlen(&names_[b.name]);
    });
    functions_.shrink_to_fit();
    return !functions_.empty();
  }

  std::vector<Function> functions_;
  std::vector<char> names_;
};

struct Tables {
  std::mutex lock;
  std::map<std::string, std::unique_ptr<SymbolTable>> by_path;  // guarded by lock
};

Tables& tables() {
  static auto* instance = new Tables;  // outlives every static object
  return *instance;
}

/// What stands between the '<' at `open` and the first ',' or the '>' that belongs to it.
std::string_view first_argument(std::string_view text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (depth == 0 && (c == ',' || c == '>')) return text.substr(open + 1, i - open - 1);
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if (c == '>' || c == ')' || c == '}' || c == ']') --depth;
  }
  return text.substr(open + 1);
}

/// A goroutine's closure is wrapped a few times; what is left is the user's.
std::string without_wrappers(const std::string& function) {
  constexpr std::string_view kRun = "void weft::detail::run_and_destroy<";
  if (!function.starts_with(kRun)) return function;
  std::string_view type = first_argument(function, kRun.size() - 1);
  for (bool is_wrapped = true; is_wrapped;) {
    is_wrapped = false;
    for (const std::string_view wrapper : {"weft::detail::spawn<", "weft::Runtime::run<", "weft::WaitGroup::Member<"}) {
      if (!type.starts_with(wrapper)) continue;
      type = first_argument(type, wrapper.size() - 1);
      is_wrapped = true;
    }
    while (type.ends_with('&') || type.ends_with(' ')) type.remove_suffix(1);
  }
  return std::string(type);
}

}  // namespace

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return status == 0 ? plain.get() : name;
}

Symbol find_symbol(const void* address) {
  if (address == nullptr) return {};
  Symbol symbol;
  Dl_info info;
  link_map* map = nullptr;
  const auto* inside = static_cast<const std::byte*>(address) - 1;
  if (dladdr1(inside, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return symbol;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  symbol.in_file = at - map->l_addr;
  // The program itself has no name in the linker's list, and its argv[0] may be anything.
  const bool is_program = map->l_name == nullptr || *map->l_name == '\0';
  const std::string path = is_program ? "/proc/self/exe" : map->l_name;
  const char* shown = info.dli_fname != nullptr ? info.dli_fname : "";
  const char* slash = std::strrchr(shown, '/');
  symbol.file = slash != nullptr ? slash + 1 : shown;

  Tables& all = tables();
  const std::lock_guard guard(all.lock);
  std::unique_ptr<SymbolTable>& table = all.by_path[path];
  if (table == nullptr) table = std::make_unique<SymbolTable>(path.c_str());
  std::uintptr_t begin = 0;
  if (const char* name = table->find(symbol.in_file - 1, begin)) {
    symbol.mangled = name;
    symbol.offset = symbol.in_file - begin;
  } else if (info.dli_sname != nullptr) {
    symbol.mangled = info.dli_sname;
    symbol.offset = at - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  }
  return symbol;
}

std::string name_of(const Symbol& symbol) { return without_wrappers(demangle(symbol.mangled.c_str())); }

std::string describe_address(const void* address) {
  const Symbol symbol = find_symbol(address);
  char offset[32];
  if (!symbol.mangled.empty()) {
    std::snprintf(offset, sizeof offset, "+0x%zx", symbol.offset);
    return name_of(symbol) + offset;
  }
  if (symbol.file.empty()) return "unknown";
  std::snprintf(offset, sizeof offset, "+0x%zx", symbol.in_file);
  return symbol.file + offset;
}

}  // namespace weft::detail
