#pragma once

// How many processors a runtime has by default.

#include <optional>
#include <string>

namespace weft::detail {

inline constexpr unsigned kMostProcessors = 1024;

/// $WEFT_PROCS, else the CPUs of the affinity mask, else fewer by the cgroup's quota. Throws std::invalid_argument for a
/// WEFT_PROCS that is not a number from 1 to kMostProcessors.
unsigned default_processor_count();
/// $WEFT_PROCS; 0: not set. Throws like it.
unsigned processors_from_environment();

/// CPUs that a quota amounts to, rounded up, never less than 2; nothing without a limit. `text`: cgroup v2's cpu.max.
std::optional<unsigned> cpus_of_quota(const std::string& text);

}  // namespace weft::detail
