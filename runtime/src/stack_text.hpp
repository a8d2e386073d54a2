#pragma once

// A walked stack as people read it: the goroutine's own functions, one a line, without the runtime's above and below.

#include <span>
#include <string>
#include <unordered_map>

#include "switch_walk.hpp"

namespace weft::detail {

/// Keeps what it has looked up: one for each report. Needs some 100 KiB of stack (symbols.hpp).
class StackText {
 public:
  /// "function+0x12 (file+0x345)": the second part is for addr2line. Each line begins with `indent` and ends in a newline.
  std::string lines(std::span<const void* const> pcs, bool is_cut, const char* indent);
  /// describe_address().
  const std::string& site(const void* address);

 private:
  struct Line {
    std::string text;
    bool is_inside = false;  // of the runtime: not shown at the inner end
    bool is_base = false;    // below every goroutine: not shown at the outer end
    bool is_glue = false;    // not shown anywhere
    bool is_throw = false;   // what comes before it throws an exception
  };
  const Line& line(const void* pc);

  std::unordered_map<const void*, Line> lines_;
  std::unordered_map<const void*, std::string> sites_;
};

}  // namespace weft::detail
