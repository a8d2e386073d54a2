#include "stack_text.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "symbols.hpp"

namespace weft::detail {
namespace {

bool is_inside(std::string_view mangled) {
  if (mangled.find("15run_and_destroyI") != std::string_view::npos) return false;  // the user's code may be part of it
  return mangled.starts_with("_ZN4weft6detail") || mangled.starts_with("_ZNK4weft6detail");
}

bool is_base(std::string_view mangled) {
  return mangled == "weft_call_watched" || mangled.starts_with("_ZN4weft6detail12call_watched") ||
         mangled.starts_with("_ZN4weft6detail10fiber_main") ||
         mangled.starts_with("_ZN4weft6detail12_GLOBAL__N_18run_task");
}

/// Between a goroutine's closure and the user's function, in code that is not optimised.
bool is_glue(std::string_view mangled) {
  return mangled.starts_with("_ZZN4weft6detail5spawnI") || mangled.starts_with("_ZN4weft6detail6invokeI");
}

/// The name of a closure that is a function or a pointer to one, as in "void (&)(int)": the function has a frame of its own.
bool is_pointer(std::string_view name) {
  const std::size_t at = name.find('(');
  return at != std::string_view::npos && (name.substr(at).starts_with("(&)(") || name.substr(at).starts_with("(*)("));
}

bool is_throw(std::string_view mangled) {
  return mangled.ends_with("__cxa_throw") || mangled.ends_with("__cxa_rethrow") ||
         mangled.starts_with("_ZSt17rethrow_exception");
}

}  // namespace

const StackText::Line& StackText::line(const void* pc) {
  const auto [at, is_new] = lines_.try_emplace(pc);
  Line& line = at->second;
  if (!is_new) return line;
  const Symbol symbol = find_symbol(pc);
  line.is_inside = is_inside(symbol.mangled);
  line.is_base = is_base(symbol.mangled);
  line.is_glue = is_glue(symbol.mangled);
  line.is_throw = is_throw(symbol.mangled);
  char number[32];
  std::string in_file;
  if (!symbol.file.empty()) {
    std::snprintf(number, sizeof number, "+0x%zx", symbol.in_file);
    in_file = symbol.file + number;
  }
  if (symbol.mangled.empty()) {
    std::snprintf(number, sizeof number, "%p", pc);
    line.text = in_file.empty() ? number : in_file;
    return line;
  }
  std::snprintf(number, sizeof number, "+0x%zx", symbol.offset);
  const std::string name = name_of(symbol);
  line.text = name + number + " (" + in_file + ")";
  line.is_glue = line.is_glue || is_pointer(name);
  return line;
}

std::string StackText::lines(std::span<const void* const> pcs, bool is_cut, const char* indent) {
  constexpr std::size_t kThrowFrames = 12;
  std::span<const void* const> shown = pcs;
  for (std::size_t i = std::min(shown.size(), kThrowFrames); i-- > 0;) {
    if (line(shown[i]).is_throw) {
      shown = shown.subspan(i + 1);
      break;
    }
  }
  while (!shown.empty() && line(shown.front()).is_inside) shown = shown.subspan(1);
  while (!shown.empty() && line(shown.back()).is_base) shown = shown.first(shown.size() - 1);
  if (shown.empty()) shown = pcs;
  std::string text;
  for (const void* pc : shown) {
    if (!line(pc).is_glue) text += indent + line(pc).text + '\n';
  }
  if (is_cut) text += std::string(indent) + "...\n";
  return text;
}

const std::string& StackText::site(const void* address) {
  const auto [at, is_new] = sites_.try_emplace(address);
  if (is_new) at->second = describe_address(address);
  return at->second;
}

}  // namespace weft::detail
