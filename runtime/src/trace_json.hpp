#pragma once

// A timeline as the Trace Event Format of Chrome and Perfetto, in JSON.

#include <string_view>

#include "trace_timeline.hpp"

namespace weft::detail {

/// Takes text, a piece at a time; may throw.
class TextSink {
 public:
  virtual ~TextSink() = default;
  virtual void take(std::string_view text) = 0;
};

/// Needs some 100 KiB of stack, to look up names (symbols.hpp).
void write_trace_json(const TraceTimeline& timeline, TextSink& sink);

}  // namespace weft::detail
