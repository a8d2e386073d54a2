#pragma once

// A trace on its way into a file.

#include <string>

#include "trace_timeline.hpp"

namespace weft::detail {

/// "%p" becomes the number of the process.
std::string with_process_number(std::string path);

/// `call` and `path` are for messages: "weft: call: path: what was wrong". All throw std::system_error, std::bad_alloc.
void write_trace(const TraceTimeline& timeline, int fd, const char* call, const std::string& path);
void write_trace(const TraceTimeline& timeline, const char* call, const std::string& path);
/// Whoever looks finds the old file or the new one, whole.
void replace_trace(const TraceTimeline& timeline, const char* call, const std::string& path);
/// Throws if replace_trace() would because of the path.
void check_trace_path(const char* call, const std::string& path);

}  // namespace weft::detail
